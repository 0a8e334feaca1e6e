/** Carries commands to whoever listens: from the host to the shell, from the shell to the view that is shown. */

export class CommandBus<Command> {
  readonly #listeners = new Set<(command: Command) => boolean>();

  /** The listener says whether it acted. */
  readonly listen = (listener: (command: Command) => boolean): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** Whether anybody acted. */
  dispatch(command: Command): boolean {
    return [...this.#listeners].some((listener) => listener(command));
  }
}
