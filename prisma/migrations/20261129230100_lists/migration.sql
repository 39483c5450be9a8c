-- The time of day between which a contact may be called, HH:MM in its own zone. Null: no limit of its own.
ALTER TABLE "contact" ADD COLUMN     "earliest" TEXT,
ADD COLUMN     "latest" TEXT;

-- How far an import is. Written beside its transaction, which nobody sees into; the end is written within it.
CREATE TABLE "import" (
    "id" SERIAL NOT NULL,
    "campaign_id" INTEGER NOT NULL,
    "mode" TEXT NOT NULL,
    "bad_rows" TEXT NOT NULL,
    "started_by" TEXT NOT NULL,
    "started_at" TIMESTAMPTZ(3) NOT NULL,
    "phase" TEXT NOT NULL,
    "rows" INTEGER NOT NULL,
    "seen_at" TIMESTAMPTZ(3) NOT NULL,
    "ended_at" TIMESTAMPTZ(3),
    "result" TEXT,
    "reason" TEXT,
    "counts" JSONB,

    CONSTRAINT "import_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "import_campaign_id_id_idx" ON "import"("campaign_id", "id");

-- AddForeignKey: it says something of the list, and goes with it.
ALTER TABLE "import" ADD CONSTRAINT "import_campaign_id_fkey" FOREIGN KEY ("campaign_id") REFERENCES "campaign"("id") ON DELETE CASCADE ON UPDATE CASCADE;
