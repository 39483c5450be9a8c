-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "public";

-- CreateTable
CREATE TABLE "campaign" (
    "id" SERIAL NOT NULL,
    "name" TEXT NOT NULL,
    "queue_key" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'draft',
    "country" CHAR(2) NOT NULL,
    "zone" TEXT NOT NULL,
    "service_num" TEXT,
    "caller_id" TEXT,
    "rules" JSONB NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 0,
    "settled_revision" INTEGER NOT NULL DEFAULT 0,
    "stop_requested" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "campaign_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "contact" (
    "id" BIGSERIAL NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "list_key" TEXT NOT NULL,
    "external_id" TEXT,
    "phone_num" TEXT NOT NULL,
    "phone_2" TEXT,
    "variables" JSONB NOT NULL DEFAULT '{}',
    "zone" TEXT,
    "priority" INTEGER NOT NULL DEFAULT 0,
    "state" TEXT NOT NULL DEFAULT 'new',
    "state_since" TIMESTAMPTZ(3) NOT NULL,
    "round" INTEGER NOT NULL DEFAULT 1,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "call_no" INTEGER NOT NULL DEFAULT 0,
    "call_id" BIGINT,
    "offer_no" INTEGER NOT NULL DEFAULT 0,
    "queue_rank" SMALLINT NOT NULL DEFAULT 3,
    "place" TIMESTAMPTZ(3) NOT NULL,
    "next_phone" SMALLINT NOT NULL DEFAULT 1,
    "given_up_1" BOOLEAN NOT NULL DEFAULT false,
    "given_up_2" BOOLEAN NOT NULL DEFAULT false,
    "wait_reason" TEXT,
    "wait_until" TIMESTAMPTZ(3),
    "last_code" CHAR(1),
    "ended_reason" TEXT,
    "ended_by" TEXT,
    "ended_at" TIMESTAMPTZ(3),
    "closed_at" TIMESTAMPTZ(3),
    "deleted_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "contact_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "call" (
    "call_id" BIGINT NOT NULL,
    "contact_id" BIGINT NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "call_no" INTEGER NOT NULL,
    "attempt" INTEGER NOT NULL,
    "number" TEXT NOT NULL,
    "queued_at" TIMESTAMPTZ(3) NOT NULL,
    "next_sequence" INTEGER NOT NULL DEFAULT 3,
    "ended_at" TIMESTAMPTZ(3),
    "end_code" CHAR(1),
    "end_reason" TEXT,

    CONSTRAINT "call_pkey" PRIMARY KEY ("call_id")
);

-- CreateTable
CREATE TABLE "call_variables" (
    "call_id" BIGINT NOT NULL,
    "name" TEXT NOT NULL,
    "value" TEXT NOT NULL,

    CONSTRAINT "call_variables_pkey" PRIMARY KEY ("call_id","name")
);

-- CreateTable
CREATE TABLE "offer" (
    "id" BIGSERIAL NOT NULL,
    "call_id" BIGINT NOT NULL,
    "contact_id" BIGINT NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "offer_no" INTEGER NOT NULL,
    "agent_id" INTEGER NOT NULL,
    "node" TEXT NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'offered',
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "announced_at" TIMESTAMPTZ(3),
    "deadline" TIMESTAMPTZ(3) NOT NULL,
    "answered_at" TIMESTAMPTZ(3),
    "accepted_at" TIMESTAMPTZ(3),
    "withdrawn" TEXT,
    "ended_at" TIMESTAMPTZ(3),
    "result_code" CHAR(1),
    "result_reason" TEXT,
    "reoffer_at" TIMESTAMPTZ(3),

    CONSTRAINT "offer_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "leg" (
    "id" TEXT NOT NULL,
    "call_id" BIGINT NOT NULL,
    "offer_id" BIGINT NOT NULL,
    "contact_id" BIGINT NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "agent_id" INTEGER NOT NULL,
    "ciq" CHAR(1) NOT NULL,
    "leg_type" TEXT NOT NULL,
    "sequence" INTEGER NOT NULL,
    "attempt" INTEGER NOT NULL,
    "node" TEXT NOT NULL,
    "source" TEXT NOT NULL,
    "destination" TEXT NOT NULL,
    "originating" TEXT,
    "not_after" TIMESTAMPTZ(3) NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "alerting_at" TIMESTAMPTZ(3),
    "answered_at" TIMESTAMPTZ(3),
    "media_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "result_code" CHAR(1),
    "result_response" INTEGER,
    "result_reason" TEXT,
    "setup_ms" INTEGER,
    "alert_ms" INTEGER,
    "delivered_at" TIMESTAMPTZ(3),

    CONSTRAINT "leg_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "agent" (
    "id" SERIAL NOT NULL,
    "name" TEXT NOT NULL,
    "phone" TEXT NOT NULL,
    "confirm" BOOLEAN NOT NULL DEFAULT false,
    "state" TEXT NOT NULL DEFAULT 'logged_off',
    "since" TIMESTAMPTZ(3) NOT NULL,
    "cause" TEXT NOT NULL,
    "offer_id" BIGINT,
    "next_state" TEXT,
    "lease_until" TIMESTAMPTZ(3),
    "state_until" TIMESTAMPTZ(3),
    "missed_in_row" INTEGER NOT NULL DEFAULT 0,
    "errors_in_row" INTEGER NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "agent_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "agent_queue" (
    "agent_id" INTEGER NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "priority" INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT "agent_queue_pkey" PRIMARY KEY ("agent_id","campaign_id")
);

-- CreateTable
CREATE TABLE "call_events" (
    "position" BIGINT NOT NULL,
    "call_id" BIGINT NOT NULL,
    "call_sequence" INTEGER NOT NULL,
    "event_type" CHAR(1) NOT NULL,
    "internal_iq_session_id" TEXT NOT NULL,
    "ciq" CHAR(1),
    "dte_start" TIMESTAMPTZ(3) NOT NULL,
    "duration_tot_sec" INTEGER NOT NULL,
    "dte_speak_start" TIMESTAMPTZ(3),
    "duration_speak_sec" INTEGER NOT NULL,
    "setup_ms" INTEGER,
    "alert_ms" INTEGER,
    "source" TEXT,
    "destination" TEXT,
    "originating" TEXT,
    "service_num" TEXT,
    "queue_key" TEXT,
    "agent_id" INTEGER,
    "result_code" CHAR(1),
    "result_response" INTEGER,
    "result_reason" TEXT,
    "answered" BOOLEAN NOT NULL,
    "call_transfer" INTEGER NOT NULL DEFAULT 0,
    "hold" INTEGER NOT NULL DEFAULT 0,
    "consult" INTEGER NOT NULL DEFAULT 0,
    "caller_on_hold_sec" INTEGER NOT NULL DEFAULT 0,
    "leg_type" TEXT,
    "dte_scheduled_callback" TIMESTAMPTZ(3),
    "request_id" TEXT,
    "contact_id" BIGINT NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "attempt" INTEGER NOT NULL,

    CONSTRAINT "call_events_pkey" PRIMARY KEY ("position")
);

-- CreateTable
CREATE TABLE "agent_events" (
    "position" BIGINT NOT NULL,
    "agent_id" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "from_state" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "cause" TEXT NOT NULL,
    "duration_ms" BIGINT NOT NULL,
    "offer_id" BIGINT,
    "call_id" BIGINT,
    "result_code" CHAR(1),

    CONSTRAINT "agent_events_pkey" PRIMARY KEY ("position")
);

-- CreateTable
CREATE TABLE "dispositions" (
    "position" BIGINT NOT NULL,
    "call_id" BIGINT NOT NULL,
    "agent_id" INTEGER NOT NULL,
    "contact_id" BIGINT NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "action" TEXT NOT NULL,
    "topics" TEXT[],
    "comment" TEXT,
    "request_id" TEXT NOT NULL,

    CONSTRAINT "dispositions_pkey" PRIMARY KEY ("position")
);

-- CreateTable
CREATE TABLE "wrap_ups" (
    "position" BIGINT NOT NULL,
    "call_id" BIGINT NOT NULL,
    "agent_id" INTEGER NOT NULL,
    "contact_id" BIGINT NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "started_at" TIMESTAMPTZ(3) NOT NULL,
    "wrap_up_sec" INTEGER NOT NULL,
    "ended_by" TEXT NOT NULL,
    "registered" BOOLEAN NOT NULL,

    CONSTRAINT "wrap_ups_pkey" PRIMARY KEY ("position")
);

-- CreateTable
CREATE TABLE "event_position" (
    "id" INTEGER NOT NULL DEFAULT 1,
    "last" BIGINT NOT NULL,

    CONSTRAINT "event_position_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "do_not_call" (
    "number" TEXT NOT NULL,
    "contact_id" BIGINT,
    "added_by" TEXT NOT NULL,
    "added_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "do_not_call_pkey" PRIMARY KEY ("number")
);

-- CreateTable
CREATE TABLE "node" (
    "name" TEXT NOT NULL,
    "holder" TEXT NOT NULL,
    "lease_until" TIMESTAMPTZ(3) NOT NULL,
    "ready_since" TIMESTAMPTZ(3),
    "errors_in_row" INTEGER NOT NULL DEFAULT 0,
    "errors_since" TIMESTAMPTZ(3),
    "failing_since" TIMESTAMPTZ(3),
    "probe_at" TIMESTAMPTZ(3),

    CONSTRAINT "node_pkey" PRIMARY KEY ("name")
);

-- CreateTable
CREATE TABLE "repair" (
    "id" BIGSERIAL NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "cause" TEXT NOT NULL,
    "subject" TEXT NOT NULL,

    CONSTRAINT "repair_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "api_key" (
    "id" SERIAL NOT NULL,
    "name" TEXT NOT NULL,
    "role" TEXT NOT NULL,
    "agent_id" INTEGER,
    "hash" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "api_key_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "stream_ticket" (
    "hash" TEXT NOT NULL,
    "agent_id" INTEGER NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "stream_ticket_pkey" PRIMARY KEY ("hash")
);

-- CreateTable
CREATE TABLE "idempotent_request" (
    "key_id" INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    "fingerprint" TEXT NOT NULL,
    "status" INTEGER,
    "body" JSONB,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "idempotent_request_pkey" PRIMARY KEY ("key_id","key")
);

-- CreateIndex
CREATE UNIQUE INDEX "campaign_queue_key_key" ON "campaign"("queue_key");

-- CreateIndex
CREATE INDEX "contact_campaign_id_state_id_idx" ON "contact"("campaign_id", "state", "id");

-- CreateIndex
CREATE INDEX "call_contact_id_call_no_idx" ON "call"("contact_id", "call_no");

-- CreateIndex
CREATE INDEX "offer_call_id_agent_id_idx" ON "offer"("call_id", "agent_id");

-- CreateIndex
CREATE UNIQUE INDEX "offer_contact_id_offer_no_key" ON "offer"("contact_id", "offer_no");

-- CreateIndex
CREATE INDEX "leg_call_id_idx" ON "leg"("call_id");

-- CreateIndex
CREATE INDEX "leg_contact_id_idx" ON "leg"("contact_id");

-- CreateIndex
CREATE INDEX "leg_offer_id_idx" ON "leg"("offer_id");

-- CreateIndex
CREATE UNIQUE INDEX "agent_phone_key" ON "agent"("phone");

-- CreateIndex
CREATE INDEX "agent_queue_campaign_id_idx" ON "agent_queue"("campaign_id");

-- CreateIndex
CREATE INDEX "call_events_contact_id_idx" ON "call_events"("contact_id");

-- CreateIndex
CREATE INDEX "call_events_campaign_id_position_idx" ON "call_events"("campaign_id", "position");

-- CreateIndex
CREATE UNIQUE INDEX "call_events_call_id_call_sequence_key" ON "call_events"("call_id", "call_sequence");

-- CreateIndex
CREATE INDEX "agent_events_agent_id_position_idx" ON "agent_events"("agent_id", "position");

-- CreateIndex
CREATE UNIQUE INDEX "dispositions_call_id_agent_id_request_id_key" ON "dispositions"("call_id", "agent_id", "request_id");

-- CreateIndex
CREATE INDEX "wrap_ups_call_id_idx" ON "wrap_ups"("call_id");

-- CreateIndex
CREATE UNIQUE INDEX "api_key_hash_key" ON "api_key"("hash");

-- AddForeignKey
ALTER TABLE "contact" ADD CONSTRAINT "contact_campaign_id_fkey" FOREIGN KEY ("campaign_id") REFERENCES "campaign"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "call" ADD CONSTRAINT "call_contact_id_fkey" FOREIGN KEY ("contact_id") REFERENCES "contact"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "call_variables" ADD CONSTRAINT "call_variables_call_id_fkey" FOREIGN KEY ("call_id") REFERENCES "call"("call_id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "offer" ADD CONSTRAINT "offer_call_id_fkey" FOREIGN KEY ("call_id") REFERENCES "call"("call_id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "offer" ADD CONSTRAINT "offer_contact_id_fkey" FOREIGN KEY ("contact_id") REFERENCES "contact"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "offer" ADD CONSTRAINT "offer_agent_id_fkey" FOREIGN KEY ("agent_id") REFERENCES "agent"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "leg" ADD CONSTRAINT "leg_call_id_fkey" FOREIGN KEY ("call_id") REFERENCES "call"("call_id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "leg" ADD CONSTRAINT "leg_offer_id_fkey" FOREIGN KEY ("offer_id") REFERENCES "offer"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "leg" ADD CONSTRAINT "leg_contact_id_fkey" FOREIGN KEY ("contact_id") REFERENCES "contact"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agent_queue" ADD CONSTRAINT "agent_queue_agent_id_fkey" FOREIGN KEY ("agent_id") REFERENCES "agent"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "agent_queue" ADD CONSTRAINT "agent_queue_campaign_id_fkey" FOREIGN KEY ("campaign_id") REFERENCES "campaign"("id") ON DELETE RESTRICT ON UPDATE CASCADE;



-- What Prisma's schema can't say. -----------------------------------------------------------------------------------

-- A row of the list is the same row in a later import; a deleted one has left the list.
CREATE UNIQUE INDEX "contact_list_key" ON "contact" ("campaign_id", "list_key") WHERE "deleted_at" IS NULL;

-- The queue in its order: with 1,000,000 queued rows the next one is an index look-up (matching/sql.ts).
CREATE INDEX "contact_queue" ON "contact" ("campaign_id", "queue_rank", "priority" DESC, "place", "id") WHERE "state" = 'queued';

-- Rows that are final while their workflow still runs: the campaign's drain tells them.
CREATE INDEX "contact_drain" ON "contact" ("campaign_id", "id") WHERE "ended_reason" IS NOT NULL AND "closed_at" IS NULL;

-- At most one open offer for each agent and each contact, whatever the code above does.
CREATE UNIQUE INDEX "offer_open_agent" ON "offer" ("agent_id") WHERE "ended_at" IS NULL;
CREATE UNIQUE INDEX "offer_open_contact" ON "offer" ("contact_id") WHERE "ended_at" IS NULL;
-- Re-announcing looks only at open offers.
CREATE INDEX "offer_unannounced" ON "offer" ("created_at") WHERE "ended_at" IS NULL AND "announced_at" IS NULL;
CREATE INDEX "offer_open_campaign" ON "offer" ("campaign_id") WHERE "ended_at" IS NULL;

-- Nobody is called twice for one call, and no number by two legs at once, whatever the code above does.
CREATE UNIQUE INDEX "leg_one_contact_leg_a_call" ON "leg" ("call_id") WHERE "ciq" = 'c' AND "leg_type" = 'contact';
CREATE UNIQUE INDEX "leg_number_in_use" ON "leg" ("destination") WHERE "ciq" = 'c' AND "ended_at" IS NULL;
CREATE INDEX "leg_open" ON "leg" ("node") WHERE "ended_at" IS NULL;
-- Talks that have ended and whose workflow is still to be told.
CREATE INDEX "leg_undelivered" ON "leg" ("ended_at") WHERE "ciq" = 'c' AND "ended_at" IS NOT NULL AND "answered_at" IS NOT NULL AND "delivered_at" IS NULL;

-- The sweep serves agents whose time has come.
CREATE INDEX "agent_ready" ON "agent" ("since") WHERE "state" = 'ready';
CREATE INDEX "agent_due" ON "agent" ("state_until") WHERE "state_until" IS NOT NULL;

ALTER TABLE "campaign" ADD CONSTRAINT "campaign_status" CHECK ("status" IN ('draft', 'running', 'paused', 'ended'));
ALTER TABLE "campaign" ADD CONSTRAINT "campaign_queue_key" CHECK ("queue_key" LIKE '\_\_Dialer%');
ALTER TABLE "contact" ADD CONSTRAINT "contact_state" CHECK ("state" IN ('new', 'starting', 'waiting', 'queued', 'offered', 'dialling', 'talking', 'wrap_up', 'done', 'disabled'));
ALTER TABLE "agent" ADD CONSTRAINT "agent_state" CHECK ("state" IN ('logged_off', 'ready', 'reserved', 'connecting', 'connected', 'wrap_up', 'paused', 'no_answer', 'busy', 'error'));
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_role" CHECK ("role" IN ('admin', 'manager', 'agent', 'operator'));
ALTER TABLE "event_position" ADD CONSTRAINT "event_position_one_row" CHECK ("id" = 1);

-- Positions start at 1.
INSERT INTO "event_position" ("id", "last") VALUES (1, 0);
