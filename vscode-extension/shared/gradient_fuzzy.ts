/** Fuzzy names: "b7qkv" finds "blocks.7.attn.qkv". Letters go on, or jump to the start of a word. */

/** Ignores case. "ln" does not find "linear": the n neither goes on nor begins a word. */
export function matchesFuzzy(wanted: string, name: string): boolean {
  const [query, text] = [wanted.toLowerCase(), name.toLowerCase()];
  if (text.includes(query)) return true;
  // Every place where what was matched so far may end, ascending: no combination is tried twice.
  let ends: number[] = [];
  for (let letter = 0; letter < query.length; letter++) {
    const goesOn = new Set(ends);
    const next: number[] = [];
    for (let at = ends[0] ?? 0; at < text.length; at++) {
      if (text[at] === query[letter] && (goesOn.has(at) || beginsWord(name, at))) next.push(at + 1);
    }
    if (next.length === 0) return false;
    ends = next;
  }
  return true;
}

function beginsWord(name: string, at: number): boolean {
  if (at === 0) return true;
  const [before, here] = [name[at - 1]!, name[at]!];
  if (/[^a-z0-9]/i.test(before)) return true;
  return /\d/.test(here) !== /\d/.test(before) || (/[A-Z]/.test(here) && /[a-z]/.test(before));
}
