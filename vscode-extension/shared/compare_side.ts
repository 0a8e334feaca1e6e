/** One session of a comparison: what its ids stand for, and the lines of the user's files as they were. */

import { lineName } from "./held_names";
import type { RecordedSession } from "./recorded_session";
import type { ModuleOutput } from "./session";

/** Names by id, read once: the records of a long session refer to them over and over. */
export class ComparedSide {
  readonly moduleNames: ReadonlyMap<number, string>;
  readonly parameterNames: ReadonlyMap<number, string>;
  readonly #labels = new Map<number, string | null>();
  readonly #texts = new Map<number, string | null>();
  readonly #lines = new Map<string, readonly string[]>();

  private constructor(
    readonly session: RecordedSession,
    /** Outputs of modules by id. */
    readonly outputs: ReadonlyMap<number, ModuleOutput>,
    private readonly files: ReadonlyMap<string, string>,
  ) {
    this.moduleNames = new Map(session.names.modules.map(({ name, module }) => [module.id, name]));
    this.parameterNames = new Map(session.names.parameters.map(({ name, parameter }) => [parameter.id, name]));
  }

  static async of(session: RecordedSession): Promise<ComparedSide> {
    const { records } = await session.reader.recordsFrom("/outputs", 0);
    const outputs = new Map(records.flatMap((record) => record.outputs.map((output) => [output.id, output] as const)));
    return new ComparedSide(session, outputs, await session.texts());
  }

  /** What the user calls the file. */
  get name(): string {
    return this.session.reader.options.name;
  }

  subjectName(kind: "parameter" | "module", id: number): string {
    if (kind === "parameter") return this.parameterNames.get(id) ?? `parameter ${id}`;
    const output = this.outputs.get(id);
    if (!output) return `module ${id}`;
    const module = this.moduleNames.get(output.module) ?? `module ${output.module}`;
    return `${module}${output.call ? `#${output.call + 1}` : ""}${output.path}`;
  }

  /** A place as "file.py:12"; null where it is not known. */
  lineOf(site: number): string | null {
    let label = this.#labels.get(site);
    if (label === undefined) {
      const found = this.session.sites.get(site);
      this.#labels.set(site, (label = found ? lineName(found, this.session.run.working_directory) : null));
    }
    return label;
  }

  /** A place's line without its indent; null where it was not recorded. */
  textOf(site: number): string | null {
    let text = this.#texts.get(site);
    if (text === undefined) {
      const found = this.session.sites.get(site);
      this.#texts.set(site, (text = found ? (this.#linesOf(found.file)[found.line - 1]?.trim() ?? null) : null));
    }
    return text;
  }

  /** The same by its label. */
  textAt(label: string): string | null {
    const at = label.lastIndexOf(":");
    const line = label.slice(at + 1);
    if (at < 1 || !/^\d+$/.test(line)) return null;
    const file = this.#fileEndingWith(label.slice(0, at));
    return file === null ? null : this.#linesOf(file)[Number(line) - 1]?.trim() || null;
  }

  /** The one recorded file of this path, or with this end; null where there is none, or several. */
  #fileEndingWith(name: string): string | null {
    if (this.files.has(name)) return name;
    const found = [...this.files.keys()].filter((path) => path.endsWith(`/${name}`) || path.endsWith(`\\${name}`));
    return found.length === 1 ? found[0]! : null;
  }

  #linesOf(file: string): readonly string[] {
    let lines = this.#lines.get(file);
    if (!lines) this.#lines.set(file, (lines = linesIn(this.files.get(file) ?? "")));
    return lines;
  }
}

function linesIn(text: string): readonly string[] {
  const lines = text.split(/\r\n|\r|\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}
