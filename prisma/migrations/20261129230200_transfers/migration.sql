-- AlterTable
ALTER TABLE "leg" ADD COLUMN     "consult" SMALLINT NOT NULL DEFAULT 0,
ADD COLUMN     "held_ms" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "held_since" TIMESTAMPTZ(3),
ADD COLUMN     "hold" SMALLINT NOT NULL DEFAULT 0,
ALTER COLUMN "ciq" DROP NOT NULL;

-- AlterTable
ALTER TABLE "offer" ADD COLUMN     "transfer_id" BIGINT;

-- CreateTable
CREATE TABLE "transfer" (
    "id" BIGSERIAL NOT NULL,
    "request_key" TEXT NOT NULL,
    "call_id" BIGINT NOT NULL,
    "contact_id" BIGINT NOT NULL,
    "offer_id" BIGINT NOT NULL,
    "agent_id" INTEGER NOT NULL,
    "mode" TEXT NOT NULL,
    "to_agent_id" INTEGER,
    "to_number" TEXT,
    "queue_id" INTEGER,
    "state" TEXT NOT NULL DEFAULT 'requested',
    "target_offer_id" BIGINT,
    "leg_id" TEXT,
    "queued_at" TIMESTAMPTZ(3),
    "sequence" INTEGER,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "ended_at" TIMESTAMPTZ(3),

    CONSTRAINT "transfer_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "keys_to_send" (
    "id" BIGSERIAL NOT NULL,
    "request_key" TEXT NOT NULL,
    "call_id" BIGINT NOT NULL,
    "digits" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "keys_to_send_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "transfer_request_key_key" ON "transfer"("request_key");

-- CreateIndex
CREATE INDEX "transfer_call_id_idx" ON "transfer"("call_id");

-- CreateIndex
CREATE UNIQUE INDEX "keys_to_send_request_key_key" ON "keys_to_send"("request_key");

-- AddForeignKey
ALTER TABLE "transfer" ADD CONSTRAINT "transfer_call_id_fkey" FOREIGN KEY ("call_id") REFERENCES "call"("call_id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- What Prisma's schema can't say. -----------------------------------------------------------------------------------

-- While a talk is handed on, a second agent has an offer of the same contact. Of queued calls there is one at most, as before.
DROP INDEX "offer_open_contact";
CREATE UNIQUE INDEX "offer_open_contact" ON "offer" ("contact_id") WHERE "ended_at" IS NULL AND "transfer_id" IS NULL;

-- One transfer of a call at a time, whatever the code above does.
CREATE UNIQUE INDEX "transfer_open" ON "transfer" ("call_id") WHERE "ended_at" IS NULL AND "state" <> 'requested';
-- Contacts who wait in a queue on the line: matching looks for them first, and finds none as a rule.
CREATE INDEX "transfer_queue" ON "transfer" ("queue_id", "queued_at") WHERE "state" = 'queued';
-- Of an ended leg: the transfers of its agent.
CREATE INDEX "transfer_offer" ON "transfer" ("offer_id");

ALTER TABLE "transfer" ADD CONSTRAINT "transfer_mode" CHECK ("mode" IN ('blind', 'attended'));
ALTER TABLE "transfer" ADD CONSTRAINT "transfer_state" CHECK ("state" IN ('requested', 'queued', 'ringing', 'consulting', 'completed', 'taken_back', 'failed', 'over'));
