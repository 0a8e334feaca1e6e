/** Which parameter, module and module output of one session is which of another: by root and path, and aliases. */

import type { ComparedSide } from "./compare_side";
import type { NamedParameter } from "./recorded_names";
import type { Parameter } from "./session";

/** Ids in the second session by those in the first, and the names of what only one of them has. */
export interface Pairs {
  readonly secondOf: ReadonlyMap<number, number>;
  readonly onlyA: readonly string[];
  readonly onlyB: readonly string[];
}

/** All names of two sessions, side by side. */
export interface NamePairs {
  readonly parameter: Pairs;
  readonly module: Pairs;
  readonly output: Pairs;
}

type Keys = ReadonlyMap<number, string>;
type KeyOf = (root: string, path: string) => string;

/** Where each session has one model, what the models are called does not matter. */
export function pairedNames(a: ComparedSide, b: ComparedSide): NamePairs {
  const several = rootsOf(a).size > 1 || rootsOf(b).size > 1;
  const keyOf: KeyOf = (root, path) => JSON.stringify(["in", several ? root : "", path]);
  const [modulesA, modulesB] = [moduleKeys(a, keyOf), moduleKeys(b, keyOf)];
  const outputName = (side: ComparedSide) => (id: number) => side.subjectName("module", id);
  return {
    parameter: pairedParameters(a, b, keyOf),
    module: paired(modulesA, modulesB, (id) => a.moduleNames.get(id)!, (id) => b.moduleNames.get(id)!),
    output: paired(outputKeys(a, modulesA), outputKeys(b, modulesB), outputName(a), outputName(b)),
  };
}

/** The names of two ranks, and those of parameters of which each has a part of its own: these are paired with none. */
export function unshardedNames(a: ComparedSide, b: ComparedSide): { readonly names: NamePairs; readonly sharded: readonly string[] } {
  const names = pairedNames(a, b);
  const { secondOf } = names.parameter;
  const there = new Set(b.session.parameters.filter(isSharded).map(({ id }) => id));
  const parts = a.session.parameters.filter((parameter) => isSharded(parameter) || there.has(secondOf.get(parameter.id) ?? -1));
  const ids = new Set(parts.map(({ id }) => id));
  const whole = new Map(Array.from(secondOf).filter(([first]) => !ids.has(first)));
  return { names: { ...names, parameter: { ...names.parameter, secondOf: whole } }, sharded: Array.from(ids, (id) => a.parameterNames.get(id)!) };
}

/** Whether the ranks hold different parts of it: its gradient here is this rank's part. */
function isSharded({ placements = [] }: Parameter): boolean {
  return placements.some((placement) => placement.includes("Shard"));
}

function paired(a: Keys, b: Keys, nameA: (id: number) => string, nameB: (id: number) => string): Pairs {
  const idsB = new Map(Array.from(b, ([id, key]) => [key, id]));
  const secondOf = new Map<number, number>();
  for (const [id, key] of a) {
    const other = idsB.get(key);
    if (other !== undefined) secondOf.set(id, other);
  }
  const seconds = new Set(secondOf.values());
  return {
    secondOf,
    onlyA: [...a.keys()].filter((id) => !secondOf.has(id)).map(nameA),
    onlyB: [...b.keys()].filter((id) => !seconds.has(id)).map(nameB),
  };
}

/** What is left over is looked for by any of its names: a tied weight may be listed under another. */
function pairedParameters(a: ComparedSide, b: ComparedSide, keyOf: KeyOf): Pairs {
  const [namesA, namesB] = [a.parameterNames, b.parameterNames];
  const first = paired(parameterKeys(a, keyOf), parameterKeys(b, keyOf), (id) => namesA.get(id)!, (id) => namesB.get(id)!);
  const secondOf = new Map(first.secondOf);
  const taken = new Set(secondOf.values());
  const known = new Map(b.session.names.parameters.flatMap((view) => namesOf(view).map((name) => [name, view.parameter.id] as const)));
  for (const view of a.session.names.parameters) {
    if (secondOf.has(view.parameter.id)) continue;
    const name = namesOf(view).find((one) => known.has(one));
    const other = name === undefined ? undefined : known.get(name);
    if (other === undefined || taken.has(other)) continue;
    secondOf.set(view.parameter.id, other);
    taken.add(other);
  }
  return {
    secondOf,
    onlyA: Array.from(namesA).filter(([id]) => !secondOf.has(id)).map(([, name]) => name),
    onlyB: Array.from(namesB).filter(([id]) => !taken.has(id)).map(([, name]) => name),
  };
}

function namesOf({ name, aliases }: NamedParameter): readonly string[] {
  return [name, ...aliases];
}

/** Tensors that belong to no module go by their name, which is theirs alone. */
function parameterKeys({ session }: ComparedSide, keyOf: KeyOf): Keys {
  const key = ({ name, parameter }: NamedParameter): string =>
    parameter.is_leaf_tensor ? JSON.stringify(["leaf", name]) : keyOf(parameter.root, parameter.path);
  return new Map(session.names.parameters.map((view) => [view.parameter.id, key(view)]));
}

function moduleKeys({ session }: ComparedSide, keyOf: KeyOf): Keys {
  return new Map(session.modules.map(({ id, root, path }) => [id, keyOf(root, path)]));
}

function outputKeys({ outputs }: ComparedSide, modules: Keys): Keys {
  return new Map(Array.from(outputs.values(), ({ id, module, path, call }) => [id, JSON.stringify([modules.get(module) ?? module, path, call])]));
}

function rootsOf({ session }: ComparedSide): Set<string> {
  const owned = session.parameters.filter(({ is_leaf_tensor }) => !is_leaf_tensor);
  return new Set([...session.modules, ...owned].map(({ root }) => root));
}
