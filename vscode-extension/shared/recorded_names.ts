/** What a session calls its parameters, modules and module outputs: the names that Python's `session` gives them. */

import type { Module, ModuleOutput, Parameter } from "./session";

/** What a row of statistics is about. */
export interface GradientSubject {
  readonly kind: "parameter" | "module";
  readonly id: number;
}

/** A parameter and its name; `aliases` are the other names of a tied weight. */
export interface NamedParameter {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly parameter: Parameter;
}

/** All names of the records read so far; made anew when there are more. */
export class RecordedNames {
  readonly modules: readonly { readonly name: string; readonly module: Module }[];
  readonly parameters: readonly NamedParameter[];
  readonly #moduleNames: ReadonlyMap<number, string>;
  readonly #outputs: ReadonlyMap<string, number>;
  readonly #withRoot: boolean;

  /** Of two entries with one id the later holds. */
  constructor(modules: readonly Module[], parameters: readonly Parameter[], outputs: readonly ModuleOutput[]) {
    const [ownModules, ownParameters] = [latest(modules), latest(parameters)];
    const roots = new Set([...ownModules, ...ownParameters.filter((entry) => !entry.is_leaf_tensor)].map(({ root }) => root));
    this.#withRoot = roots.size > 1;
    this.modules = ownModules.map((module) => ({ name: this.#compose(module.root, module.path), module }));
    this.#moduleNames = new Map(this.modules.map(({ name, module }) => [module.id, name]));
    this.parameters = this.#named(ownParameters);
    this.#outputs = new Map(latest(outputs).map((output) => [this.#outputName(output), output.id]));
  }

  /** Gradients of module outputs are named "layers.0", "layers.0[1]" and, for the second call in a step, "layers.0#2". */
  get outputNames(): readonly string[] {
    return [...this.#outputs.keys()];
  }

  /** A parameter, or a module's output, by name; null where there is none. */
  subject(name: string): GradientSubject | null {
    const named = this.parameters.find((one) => one.name === name) ?? this.parameters.find((one) => one.aliases.includes(name));
    if (named) return { kind: "parameter", id: named.parameter.id };
    const output = this.#outputs.get(name);
    return output === undefined ? null : { kind: "module", id: output };
  }

  #compose(root: string, path: string): string {
    if (path === "") return root || "(root)";
    return this.#withRoot && root !== "" ? `${root}.${path}` : path;
  }

  #named(parameters: readonly Parameter[]): NamedParameter[] {
    const taken = new Set<string>();
    return parameters.map((parameter) => {
      const { id, root, path, aliases = [] } = parameter;
      const plain = parameter.is_leaf_tensor ? path || `tensor ${id}` : this.#compose(root, path);
      const name = taken.has(plain) ? `${plain} (${id})` : plain;
      taken.add(name);
      return { name, aliases: aliases.map((alias) => this.#compose(root, alias)), parameter };
    });
  }

  #outputName({ module, call, path }: ModuleOutput): string {
    return `${this.#moduleNames.get(module) ?? `module ${module}`}${call ? `#${call + 1}` : ""}${path}`;
  }
}

function latest<T extends { readonly id: number }>(entries: readonly T[]): T[] {
  return [...new Map(entries.map((entry) => [entry.id, entry])).values()];
}
