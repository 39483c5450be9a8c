import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { defineConfig } from 'prisma/config';

// The CLI reads these variables after it has loaded this file, so nothing has to be exported in a shell.
process.env.PRISMA_HIDE_UPDATE_MESSAGE ??= '1';
process.env.CHECKPOINT_DISABLE ??= '1';
if (!hasNativeEngine()) {
  process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= path.join(import.meta.dirname, 'prisma/schema-engine.mjs');
}

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
  datasource: {
    // `generate` needs no database, but the CLI wants the setting to be there.
    url: process.env.DATABASE_URL ?? 'postgresql://localhost/dialwright',
    ...(process.env.SHADOW_DATABASE_URL ? { shadowDatabaseUrl: process.env.SHADOW_DATABASE_URL } : {}),
  },
});

/** True where Prisma's install script was allowed to download its native engine (here package.json denies it). */
function hasNativeEngine(): boolean {
  const require = createRequire(import.meta.url);
  const prisma = createRequire(require.resolve('prisma/package.json'));
  const engines = path.dirname(prisma.resolve('@prisma/engines/package.json'));
  return readdirSync(engines).some((file) => file.startsWith('schema-engine-'));
}
