/** The root of a sum of squares, rounded once: Math.hypot is off in the last digit, and two readers must agree. */

/** Infinite where any value is; else NaN where any is. */
export function normOf(values: Iterable<number>): number {
  const found = Float64Array.from(values);
  let most = 0;
  let hasNan = false;
  for (const value of found) {
    if (Math.abs(value) === Infinity) return Infinity;
    hasNan ||= Number.isNaN(value);
    most = Math.max(most, Math.abs(value));
  }
  if (hasNan) return Number.NaN;
  return most === 0 ? 0 : scaledNorm(found, powerOfTwoOver(most));
}

/** Squares and sum in two doubles each: the second holds what rounding the first left over. */
function scaledNorm(values: Float64Array, scale: number): number {
  let [sum, rest] = [0, 0];
  for (const value of values) {
    const [square, error] = product(value / scale, value / scale);
    const next = sum + square;
    rest += (sum >= square ? sum - next + square : square - next + sum) + error;
    sum = next;
  }
  const root = Math.sqrt(sum + rest);
  const [square, error] = product(root, root);
  return (root + (sum - square - error + rest) / (2 * root)) * scale;
}

/** a * b as the nearest double and its error. */
function product(a: number, b: number): [number, number] {
  const [highA, lowA] = halves(a);
  const [highB, lowB] = halves(b);
  const nearest = a * b;
  return [nearest, highA * highB - nearest + highA * lowB + lowA * highB + lowA * lowB];
}

function halves(value: number): [number, number] {
  const shifted = value * (2 ** 27 + 1);
  const high = shifted - (shifted - value);
  return [high, value - high];
}

/** Dividing by it is exact, and leaves values within 1. Kept below the largest power, and above what would be 0. */
function powerOfTwoOver(value: number): number {
  return 2 ** Math.min(Math.max(Math.ceil(Math.log2(value)), -1000), 1023);
}
