/** What the widget in the kernel (gradwatch/widget.py) and its page tell each other, beside bytes in buffers. */

/** A file of the session, by its place in the widget's list. `others` are to compare with. */
export interface WidgetFile {
  readonly name: string;
  readonly place: string;
  readonly other: boolean;
}

/** Kernel to page. `size` is how far the page may read now. */
export type FromKernel =
  /** Bytes of file `file` at `offset`, as the first buffer. */
  | { readonly type: "bytes"; readonly file: number; readonly offset: number; readonly size: number }
  /** Why what was asked for at `offset` cannot be read. */
  | { readonly type: "failed"; readonly file: number; readonly offset: number; readonly reason: string }
  /** Something that the user should know, once. */
  | { readonly type: "notice"; readonly text: string };

/** Page to kernel. */
export type ToKernel =
  /** Pushed bytes arrive from now on; `sizes` is how far each file is known. */
  | { readonly type: "ready"; readonly sizes: readonly number[] }
  | { readonly type: "read"; readonly file: number; readonly offset: number; readonly length: number };

/** What anywidget hands over of its model. */
export interface WidgetModel {
  get(name: string): unknown;
  send(content: ToKernel): void;
  on(event: "msg:custom", listener: (content: unknown, buffers: unknown) => void): void;
  off(event: "msg:custom", listener: (content: unknown, buffers: unknown) => void): void;
}

export function isFromKernel(content: unknown): content is FromKernel {
  return typeof content === "object" && content !== null && typeof (content as { type?: unknown }).type === "string";
}
