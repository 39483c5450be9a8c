-- Receivers of the raw data, each with its own position, and the log of what was posted to them.

-- CreateTable
CREATE TABLE "webhook" (
    "id" SERIAL NOT NULL,
    "url" TEXT NOT NULL,
    "kinds" TEXT[],
    "campaign_ids" INTEGER[],
    "secret" TEXT NOT NULL,
    "old_secrets" JSONB NOT NULL DEFAULT '[]',
    "state" TEXT NOT NULL DEFAULT 'active',
    "paused_reason" TEXT,
    "paused_at" TIMESTAMPTZ(3),
    "position" BIGINT NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 0,
    "delivery_id" TEXT,
    "delivery_next" BIGINT,
    "delivery_at" TIMESTAMPTZ(3),
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "failing_since" TIMESTAMPTZ(3),
    "last_error" TEXT,
    "next_attempt_at" TIMESTAMPTZ(3),
    "test_id" TEXT,
    "attempts" BIGINT NOT NULL DEFAULT 0,
    "failures" BIGINT NOT NULL DEFAULT 0,
    "holder" TEXT,
    "lease_until" TIMESTAMPTZ(3),
    "request_key" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "webhook_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "webhook_delivery" (
    "id" BIGSERIAL NOT NULL,
    "webhook_id" INTEGER NOT NULL,
    "delivery_id" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "attempt" INTEGER NOT NULL,
    "first_position" BIGINT,
    "last_position" BIGINT,
    "events" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "duration_ms" INTEGER NOT NULL,
    "status" INTEGER,
    "error" TEXT,

    CONSTRAINT "webhook_delivery_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "webhook_request_key_key" ON "webhook"("request_key");

-- CreateIndex
CREATE INDEX "webhook_delivery_webhook_id_id_idx" ON "webhook_delivery"("webhook_id", "id");

-- CreateIndex
CREATE INDEX "webhook_delivery_at_idx" ON "webhook_delivery"("at");

-- AddForeignKey
ALTER TABLE "webhook_delivery" ADD CONSTRAINT "webhook_delivery_webhook_id_fkey" FOREIGN KEY ("webhook_id") REFERENCES "webhook"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Whatever the code does: a delivery is whole or not there, and agent events are asked for only where no campaign is named,
-- as they are of none.
ALTER TABLE "webhook" ADD CONSTRAINT "webhook_delivery_whole"
  CHECK (num_nonnulls("delivery_id", "delivery_next", "delivery_at") IN (0, 3));
ALTER TABLE "webhook" ADD CONSTRAINT "webhook_agents_of_no_campaign"
  CHECK (cardinality("campaign_ids") = 0 OR NOT 'agent' = ANY ("kinds"));
