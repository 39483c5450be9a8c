-- AlterTable
ALTER TABLE "node" ADD COLUMN     "calls_per_second" DOUBLE PRECISION,
ADD COLUMN     "max_calls" INTEGER,
ADD COLUMN     "next_call_at" TIMESTAMPTZ(6),
ADD COLUMN     "next_dial_at" TIMESTAMPTZ(6),
ADD COLUMN     "next_ring_at" TIMESTAMPTZ(6);

-- Calls up at a node are counted for every offer, whatever was before.
CREATE INDEX "offer_open_node" ON "offer" ("node") WHERE "ended_at" IS NULL;
