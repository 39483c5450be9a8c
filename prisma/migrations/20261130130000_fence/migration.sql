-- PostgreSQL and Temporal count together while workers run, so that one that was restored to an earlier time is recognised
-- before anybody is dialled (docs/operations.md, "Restoring").
CREATE TABLE "fence" (
    "id" INTEGER NOT NULL DEFAULT 1,
    "beat" INTEGER NOT NULL DEFAULT 0,
    "beat_at" TIMESTAMPTZ(3),
    "reconciling" TEXT,

    CONSTRAINT "fence_pkey" PRIMARY KEY ("id")
);

ALTER TABLE "fence" ADD CONSTRAINT "fence_one_row" CHECK ("id" = 1);
INSERT INTO "fence" ("id") VALUES (1);
