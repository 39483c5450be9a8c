-- Who has paused, logged off or released an agent: beside the next state while it is to come, beside the decision to withdraw
-- the offer, and with the event. All null for what the system does, and for what was before.
ALTER TABLE "agent" ADD COLUMN "next_by" TEXT;
ALTER TABLE "offer" ADD COLUMN "withdrawn_by" TEXT;
ALTER TABLE "agent_events" ADD COLUMN "changed_by" TEXT;

-- Reports read the raw data by time. Of call events they read legs only, which are half of them; the rows of an agent's
-- states are walked agent by agent.
CREATE INDEX "call_events_legs" ON "call_events" ("dte_start") WHERE "event_type" = 'c';
CREATE INDEX "agent_events_agent_id_at_idx" ON "agent_events" ("agent_id", "at");
CREATE INDEX "dispositions_at_idx" ON "dispositions" ("at");
CREATE INDEX "wrap_ups_started_at_idx" ON "wrap_ups" ("started_at");
