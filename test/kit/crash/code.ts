/** Where a worker may crash, read off the code: its activities by name, its transactions by where they are begun. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

export interface Site {
  /** `matching/caps.ts leaveQueueForCap`; the second one in the same function ends with ` 2`. */
  name: string;
  /** As a stack names it: `matching/caps.ts:15`. */
  place: string;
}

export const ROOT = path.resolve(import.meta.dirname, '../../..');
/** What runs in a worker. */
const ROOMS = ['activities', 'matching', 'webhooks', 'worker'];

/** By convention, activities are what these make. */
const FACTORY = /^create\w*(Activities|Steps)$/;

export function activitiesOfCode(): string[] {
  const names: string[] = [];
  for (const file of filesOf(['activities'])) {
    for (const statement of parse(file).statements) {
      if (ts.isFunctionDeclaration(statement) && FACTORY.test(statement.name?.text ?? '')) names.push(...madeBy(statement));
    }
  }
  return names.toSorted();
}

/** Names in the object that a factory returns. */
function madeBy({ body }: ts.FunctionDeclaration): string[] {
  const returned = body?.statements.find(ts.isReturnStatement)?.expression;
  if (!returned || !ts.isObjectLiteralExpression(returned)) throw new Error('activities are made as one object');
  return returned.properties.map((property) => property.name!.getText());
}

export function transactionsOfCode(): Site[] {
  return filesOf(ROOMS).flatMap((file) => {
    const source = parse(file);
    const times = new Map<string, number>();
    return callsOf('inTx', source).map((call): Site => {
      const { line } = source.getLineAndCharacterOfPosition(call.expression.getStart());
      const name = `${file} ${functionAround(call)}`;
      const nth = (times.get(name) ?? 0) + 1;
      times.set(name, nth);
      return { name: nth === 1 ? name : `${name} ${nth}`, place: `${file}:${line + 1}` };
    });
  });
}

function filesOf(rooms: string[]): string[] {
  return globSync(rooms.map((room) => `${room}/**/*.ts`), { cwd: ROOT }).toSorted();
}

function parse(file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(path.join(ROOT, file), 'utf8'), ts.ScriptTarget.Latest, true);
}

function callsOf(name: string, node: ts.Node): ts.CallExpression[] {
  const within = node.getChildren().flatMap((child) => callsOf(name, child));
  return ts.isCallExpression(node) && node.expression.getText() === name ? [node, ...within] : within;
}

/** The name of the nearest function that has one. */
function functionAround(call: ts.Node): string {
  for (let node = call.parent; node; node = node.parent) {
    if ((ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node)) && node.name) return node.name.getText();
    if ((ts.isVariableDeclaration(node) || ts.isPropertyAssignment(node)) && isFunction(node.initializer)) return node.name.getText();
  }
  throw new Error('a transaction outside of any function');
}

const isFunction = (node: ts.Node | undefined): boolean =>
  node !== undefined && (ts.isArrowFunction(node) || ts.isFunctionExpression(node));
