/** Where a JSON text goes wrong: V8's messages say it only for some mistakes, and quote the text. */

const TOKEN =
  /[ \t\n\r]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)/y;
const SPACE = /[ \t\n\r]*/y;

/** What may come next: a value, a value or `]`, a key or `}`, a key, `:`, or `,` and the end of what is open. */
type Expected = 'value' | 'value or ]' | 'key or }' | 'key' | ':' | ', or end';

/** Line and column (from 1) of the first character that can't stand where it stands; the end if it breaks off. */
export function whereJsonBreaks(text: string): { line: number; column: number } {
  const open: string[] = [];
  let expected: Expected = 'value';
  let at = 0;
  while (!(expected === ', or end' && open.length === 0)) {
    TOKEN.lastIndex = at;
    const [token, mark, string] = TOKEN.exec(text) ?? [];
    const next: Expected | null = token === undefined ? null : follow(expected, mark ?? (string ? 'string' : 'value'), open);
    if (next === null) break;
    expected = next;
    at += token!.length;
  }
  SPACE.lastIndex = at;
  at += SPACE.exec(text)![0].length;
  const before = text.slice(0, at).split('\n');
  return { line: before.length, column: before.at(-1)!.length + 1 };
}

/** What is expected after this token, or null if it can't stand here. `open` are the brackets that are open. */
function follow(expected: Expected, token: string, open: string[]): Expected | null {
  const value = expected === 'value' || expected === 'value or ]';
  if (token === '{' && value) return open.push('{'), 'key or }';
  if (token === '[' && value) return open.push('['), 'value or ]';
  if ((token === 'value' || token === 'string') && value) return ', or end';
  if (token === 'string' && (expected === 'key' || expected === 'key or }')) return ':';
  if (token === ':' && expected === ':') return 'value';
  if (token === ',' && expected === ', or end') return open.at(-1) === '{' ? 'key' : 'value';
  if (token === '}' && open.at(-1) === '{' && (expected === 'key or }' || expected === ', or end')) {
    return open.pop(), ', or end';
  }
  if (token === ']' && open.at(-1) === '[' && (expected === 'value or ]' || expected === ', or end')) {
    return open.pop(), ', or end';
  }
  return null;
}
