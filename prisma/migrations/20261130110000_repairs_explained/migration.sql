-- Repairs say which worker made them, and are recorded once, however many workers find the same thing and however often one
-- has to be repeated: `occasion` tells two of the same cause and subject apart. Null in rows of earlier releases, whose
-- workers may still write some beside this one: nulls are all different, so they never meet.
ALTER TABLE "repair" ADD COLUMN "occasion" TEXT;
ALTER TABLE "repair" ADD COLUMN "worker" TEXT;
CREATE UNIQUE INDEX "repair_cause_subject_occasion_key" ON "repair"("cause", "subject", "occasion");

-- They are read the latest first, all of them or those of one cause, which are also counted by this index alone.
CREATE INDEX "repair_at_id_idx" ON "repair"("at", "id");
CREATE INDEX "repair_cause_at_id_idx" ON "repair"("cause", "at", "id");

-- Since when a held node can't reach its switch; written with the lease.
ALTER TABLE "node" ADD COLUMN "away_since" TIMESTAMPTZ(3);

CREATE INDEX "import_unfinished" ON "import" ("campaign_id") WHERE "ended_at" IS NULL;
