/** A figure beside its bare limit, taken on the same machine in the same run. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** What the bare thing does, in the same unit. */
  limit: number;
  /** Which thing that is: `bare COPY`. */
  limitIs: string;
  /** Absent: it is only told. */
  aim?: { of: 'ratio' | 'value' } & ({ atLeast: number } | { atMost: number });
}

const ratioOf = ({ value, limit }: Figure): number => value / limit;
/** Three digits are all that such a measurement is good for. */
const round = (value: number): number => Number(value.toPrecision(3));

/** Undefined where nothing is aimed at. */
export function isMet(figure: Figure): boolean | undefined {
  const { aim } = figure;
  if (!aim) return undefined;
  const measured = aim.of === 'ratio' ? ratioOf(figure) : figure.value;
  return 'atLeast' in aim ? measured >= aim.atLeast : measured <= aim.atMost;
}

/** An object a line. */
export function asJson(figures: readonly Figure[]): string {
  const object = (figure: Figure) => {
    const { name, value, unit, limit } = figure;
    return { name, value: round(value), unit, limit: round(limit), ratio: round(ratioOf(figure)) };
  };
  return figures.map((figure) => `${JSON.stringify(object(figure))}\n`).join('');
}

/** For people: a line a figure, in columns. */
export function asTable(figures: readonly Figure[]): string {
  const cells = figures.map((figure) => {
    const { name, value, unit, limit, limitIs, aim } = figure;
    const wanted = aim ? `${aim.of} ${'atLeast' in aim ? `≥ ${aim.atLeast}` : `≤ ${aim.atMost}`}` : '';
    const verdict = aim ? (isMet(figure) ? 'met' : 'missed') : '';
    const numbers = [round(value), round(limit), round(ratioOf(figure))].map(String);
    return [name, numbers[0]!, unit, numbers[1]!, limitIs, numbers[2]!, wanted, verdict];
  });
  const lines = [['figure', 'value', 'unit', 'limit', 'which is', 'ratio', 'aim', ''], ...cells];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) => `${line.map((cell, i) => cell.padEnd(widths[i]!)).join('  ').trimEnd()}\n`).join('');
}
