/** One question at a time for a debug session: a second evaluate would only wait inside the debugger. */

import type { DebugAdapter, Frame } from "./debug_adapter";
import { expressionOf, readReply, unpacked } from "./questions";
import type { Question, Reply } from "./questions";
import * as texts from "./texts";

/** Asked at a question's turn: false when the program went on, or something else was asked for meanwhile. */
export type Wanted = () => boolean;

/** The question was dropped unsent. */
export class NoLongerWanted extends Error {}

/** The adapter would not evaluate, or what came back is no answer. */
export class EvaluateRejected extends Error {}

export class QuestionQueue {
  readonly #adapter: DebugAdapter;
  #last: Promise<unknown> = Promise.resolve();
  #evaluating = false;

  constructor(adapter: DebugAdapter) {
    this.#adapter = adapter;
  }

  /** Whether an expression is being evaluated now. */
  get evaluating(): boolean {
    return this.#evaluating;
  }

  /** The text of the answer. Without a frame the question runs beside the program, not on the stopped thread. */
  async ask(question: Question, frameId: number | null, wanted: Wanted): Promise<string> {
    const text = await this.evaluate(expressionOf(question), frameId, wanted);
    try {
      return unpacked(text);
    } catch (error) {
      throw new EvaluateRejected(texts.messageOf(error));
    }
  }

  evaluate(expression: string, frameId: number | null, wanted: Wanted): Promise<string> {
    return this.#inTurn(wanted, async () => {
      this.#evaluating = true;
      try {
        return await this.#adapter.evaluate(expression, frameId);
      } catch (error) {
        throw new EvaluateRejected(texts.messageOf(error));
      } finally {
        this.#evaluating = false;
      }
    });
  }

  topFrame(threadId: number, wanted: Wanted): Promise<Frame> {
    return this.#inTurn(wanted, () => this.#adapter.topFrame(threadId));
  }

  frames(threadId: number, wanted: Wanted): Promise<readonly Frame[]> {
    return this.#inTurn(wanted, () => this.#adapter.frames(threadId, 200));
  }

  #inTurn<T>(wanted: Wanted, send: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => {
      if (!wanted()) throw new NoLongerWanted(texts.wentOn());
      return send();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** Throws EvaluateRejected when the text is no answer. */
export function understand(text: string): Reply {
  const reply = readReply(text);
  if (reply === null) throw new EvaluateRejected(texts.notAnAnswer(text));
  return reply;
}
