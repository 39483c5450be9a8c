/** Migrations expand: the release before runs on while one is applied. What takes away is a step of its own, marked. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { objectionsTo } from '../../dev/migration-check.ts';

const MIGRATIONS = path.resolve(import.meta.dirname, '../../prisma/migrations');
/** Up to here they are of the first release: no other ran before it. */
const FIRST_RELEASE = '20261130040000_request_keys';
const names = readdirSync(MIGRATIONS).filter((name) => existsSync(path.join(MIGRATIONS, name, 'migration.sql')));

describe('a migration', () => {
  it.each(names.filter((name) => name > FIRST_RELEASE))('takes nothing away from the release before: %s', (name) => {
    expect(objectionsTo(readFileSync(path.join(MIGRATIONS, name, 'migration.sql'), 'utf8'))).toEqual([]);
  });
});

describe('what the release before can not live with', () => {
  it.each([
    'DROP TABLE "repair"',
    'ALTER TABLE "contact" DROP COLUMN "zone"',
    'ALTER TABLE "contact" RENAME COLUMN "zone" TO "tz"',
    'ALTER TABLE "contact" ALTER COLUMN "attempts" TYPE BIGINT',
    'ALTER TABLE "contact" ALTER "attempts" SET DATA TYPE BIGINT',
    'ALTER TABLE "contact" ALTER COLUMN "zone" SET NOT NULL',
    'ALTER TABLE "contact" ADD COLUMN "mood" TEXT NOT NULL',
    'ALTER TABLE "contact" ADD COLUMN "one" TEXT,\n ADD COLUMN "mood" INTEGER NOT NULL',
    'ALTER TABLE "contact" ADD CONSTRAINT "contact_mood" CHECK ("attempts" < 3)',
    'CREATE UNIQUE INDEX "one" ON "contact" ("zone")',
    'ALTER TABLE "contact" ADD COLUMN "mood" TEXT DEFAULT 1;\nCREATE UNIQUE INDEX "one" ON "contact" ("zone", "mood")',
    'CREATE INDEX "one" ON "contact" ("zone")',
    'DROP INDEX "contact_queue"',
    'delete from stream_ticket',
    'TRUNCATE "repair"',
  ])('is seen: %s', (statement) => expect(objectionsTo(`SELECT 1;\n${statement};\nSELECT 2;`)).toHaveLength(1));

  it.each([
    'ALTER TABLE "contact" ADD COLUMN "mood" TEXT',
    `ALTER TABLE "contact" ADD COLUMN "mood" TEXT NOT NULL DEFAULT 'good, as ever'`,
    'ALTER TABLE "contact" ADD COLUMN "mood" INTEGER DEFAULT 0 NOT NULL',
    'ALTER TABLE "contact" ALTER COLUMN "zone" DROP NOT NULL',
    'CREATE INDEX "one" ON "node" ("holder") WHERE "holder" IS NOT NULL',
    'CREATE INDEX CONCURRENTLY "one" ON "contact" ("zone")',
    'CREATE TABLE "mood" ("id" INTEGER NOT NULL); CREATE UNIQUE INDEX "m" ON "mood" ("id"); ALTER TABLE "mood" ADD CONSTRAINT "c" CHECK ("id" = 1)',
    'ALTER TABLE "contact" ADD COLUMN "mood" TEXT;\nCREATE UNIQUE INDEX "one" ON "contact" ("zone", "mood")',
    'CREATE FUNCTION f() RETURNS void AS $$ BEGIN DELETE FROM contact; END $$ LANGUAGE plpgsql',
    `COMMENT ON TABLE "contact" IS 'never DROP TABLE "contact"; never'`,
    '-- never DROP TABLE contact\nSELECT 1',
    '-- contract: 0.1.0 has stopped reading it\nALTER TABLE "contact" DROP COLUMN "zone"',
  ])('is not seen in: %s', (statement) => expect(objectionsTo(`${statement};`)).toEqual([]));
});
