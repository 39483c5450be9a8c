// What of a migration the release before can't live with, which still runs while it is applied (docs/operations.md, "Upgrading").

/** A statement that takes something away, or refuses what older code writes. */
const DESTRUCTIVE: readonly (readonly [RegExp, string])[] = [
  [/\bDROP\s+(TABLE|COLUMN|FUNCTION|TYPE|SEQUENCE|VIEW|INDEX|CONSTRAINT|TRIGGER|SCHEMA|DEFAULT)\b/i, 'takes away what older code may use'],
  [/\bRENAME\b/i, 'takes away the old name'],
  [/\bTRUNCATE\b/i, 'takes rows away'],
  [/\bDELETE\s+FROM\b/i, 'takes rows away'],
  [/\bALTER\s+(COLUMN\s+)?"?\w+"?\s+(SET\s+DATA\s+)?TYPE\b/i, 'changes a type that older code reads and writes'],
  [/\bSET\s+NOT\s+NULL\b/i, 'refuses rows of older code'],
];
/** On a table that the migration itself makes nothing of this can hurt. */
const ON_OLD_TABLES: readonly (readonly [RegExp, string])[] = [
  [/\bADD\s+COLUMN\s+(?:IF\s+NOT\s+EXISTS\s+)?"?\w+"?[^,]*\bNOT\s+NULL\b(?![^,]*\bDEFAULT\b)(?<!\bDEFAULT\b[^,]*)/i, 'refuses rows of older code'],
  [/\bADD\s+CONSTRAINT\b/i, 'may refuse rows of older code'],
  [/\bCREATE\s+UNIQUE\s+INDEX\b/i, 'may refuse rows of older code'],
];

/** Of these there are many rows, and calls write them all the time. */
const LARGE = ['contact', 'call', 'call_variables', 'offer', 'leg', 'call_events', 'agent_events', 'dispositions', 'wrap_ups', 'do_not_call'];
const WRITES_WAIT = 'writes wait while it is made: CREATE INDEX CONCURRENTLY, in a migration of its own';

/** Before a statement: it is a contract step, and why the release before does not mind. */
const MARK = /--\s*contract:\s*\S/i;

export interface Objection {
  statement: string;
  why: string;
}

/** Objections to a migration's SQL: statements that are destructive and not marked as a contract step. */
export function objectionsTo(sql: string): Objection[] {
  const made = [...sql.matchAll(/\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"?(\w+)"?/gi)].map(([, table]) => table!);
  const added = [...sql.matchAll(/\bADD\s+COLUMN\s+"?(\w+)"?\s+\w+\s*[;,]/gi)].map(([, column]) => column!);
  return statements(sql).flatMap((statement) => {
    if (MARK.test(statement) || isOfNulls(statement, added)) return [];
    const text = statement.replaceAll(/--.*$/gm, '').trim();
    const [, table] = /^(?:ALTER\s+TABLE(?:\s+ONLY)?|CREATE\s+UNIQUE\s+INDEX.*?\bON)\s+"?(\w+)"?/is.exec(text) ?? [];
    const rules = table && made.includes(table) ? DESTRUCTIVE : [...DESTRUCTIVE, ...ON_OLD_TABLES];
    const found = rules.find(([pattern]) => pattern.test(text));
    const [, indexed] = /^CREATE\s+INDEX\s+(?!CONCURRENTLY).*?\bON\s+"?(\w+)"?/is.exec(text) ?? [];
    const isSlow = indexed !== undefined && LARGE.includes(indexed) && !made.includes(indexed);
    const why = found?.[1] ?? (isSlow ? WRITES_WAIT : null);
    return why ? [{ statement: text.replaceAll(/\s+/g, ' ').slice(0, 120), why }] : [];
  });
}

/** A unique index with a column that is null in every row of older code: those rows never meet. */
function isOfNulls(statement: string, added: string[]): boolean {
  const [, columns = ''] = /^\s*CREATE\s+UNIQUE\s+INDEX[^(]*\(([^)]*)\)\s*$/im.exec(statement) ?? [];
  return columns.split(',').some((column) => added.includes(column.trim().replaceAll('"', '')));
}

/** Each with the comments before it; what stands in quotes, or in a function's body, is none. */
function statements(sql: string): string[] {
  const plain = sql.replaceAll(/--.*$|\$(\w*)\$[\s\S]*?\$\1\$|'(?:[^']|'')*'/gm, (found) =>
    found.startsWith('--') ? found.replaceAll(';', ',') : found.replaceAll(/[^\n]/g, '_'),
  );
  return plain.split(';').filter((statement) => statement.replaceAll(/--.*$/gm, '').trim() !== '');
}
