-- AlterTable
-- Until now a number could get onto the list by a disposition only.
ALTER TABLE "do_not_call" ADD COLUMN     "comment" TEXT,
ADD COLUMN     "source" TEXT NOT NULL DEFAULT 'disposition';

-- CreateTable
CREATE TABLE "do_not_call_removed" (
    "id" BIGSERIAL NOT NULL,
    "number" TEXT NOT NULL,
    "contact_id" BIGINT,
    "added_by" TEXT NOT NULL,
    "added_at" TIMESTAMPTZ(3) NOT NULL,
    "source" TEXT NOT NULL,
    "comment" TEXT,
    "removed_by" TEXT NOT NULL,
    "removed_at" TIMESTAMPTZ(3) NOT NULL,
    "removed_comment" TEXT NOT NULL,

    CONSTRAINT "do_not_call_removed_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "do_not_call_pending" (
    "id" BIGSERIAL NOT NULL,
    "number" TEXT NOT NULL,
    "due_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "do_not_call_pending_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "do_not_call_added_at_idx" ON "do_not_call"("added_at");

-- CreateIndex
CREATE INDEX "do_not_call_removed_number_idx" ON "do_not_call_removed"("number");

-- What Prisma's schema can't say. -----------------------------------------------------------------------------------

-- Whom a listed number concerns, over all campaigns: contacts whose round is not closed, by either of their numbers.
CREATE INDEX "contact_open_phone_num" ON "contact" ("phone_num") WHERE "closed_at" IS NULL;
CREATE INDEX "contact_open_phone_2" ON "contact" ("phone_2") WHERE "closed_at" IS NULL AND "phone_2" IS NOT NULL;

-- Those who are listed already have contacts that came in before; a worker ends them as it ends those of a new listing.
INSERT INTO "do_not_call_pending" ("number", "due_at") SELECT "number", "added_at" FROM "do_not_call";
