-- Finished contacts that are called again by one decision about many (docs/domain.md, "Reopening").
CREATE TABLE "reopening" (
    "id" BIGSERIAL NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "filter" JSONB NOT NULL,
    "extra_attempts" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "by" TEXT NOT NULL,
    "request_key" TEXT NOT NULL,
    "last_contact_id" BIGINT NOT NULL DEFAULT 0,
    "reopened" JSONB NOT NULL DEFAULT '{}',
    "not_reopened" JSONB NOT NULL DEFAULT '{}',
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "reopening_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "reopening_request_key_key" ON "reopening"("request_key");
CREATE INDEX "reopening_campaign_id_id_idx" ON "reopening"("campaign_id", "id");
ALTER TABLE "reopening" ADD CONSTRAINT "reopening_campaign_id_fkey" FOREIGN KEY ("campaign_id") REFERENCES "campaign"("id") ON DELETE CASCADE ON UPDATE CASCADE;

ALTER TABLE "contact" ADD COLUMN "reopened_at" TIMESTAMPTZ(3);
ALTER TABLE "contact" ADD COLUMN "extra_attempts" INTEGER NOT NULL DEFAULT 0;

-- A ticket is no better than the key with which it was asked for. Those that there are last a minute: they are forgotten.
DELETE FROM "stream_ticket";
ALTER TABLE "stream_ticket" ADD COLUMN "key_id" INTEGER NOT NULL;
