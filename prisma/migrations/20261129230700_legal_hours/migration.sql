-- CreateTable
CREATE TABLE "legal_hours" (
    "country" TEXT NOT NULL,
    "hours" JSONB NOT NULL,
    "updated_by" TEXT NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "legal_hours_pkey" PRIMARY KEY ("country")
);

-- CreateTable
CREATE TABLE "legal_hours_change" (
    "id" BIGSERIAL NOT NULL,
    "country" TEXT NOT NULL,
    "hours" JSONB,
    "changed_by" TEXT NOT NULL,
    "changed_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "legal_hours_change_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "legal_hours_change_country_id_idx" ON "legal_hours_change"("country", "id");

-- Nobody is called without legal hours, so there are some from the start: narrow ones, for every country.
WITH made AS (
    INSERT INTO "legal_hours" VALUES (
        '*',
        '{"periods": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "08:00", "to": "21:00"}], "holidays": []}',
        'system',
        '2026-11-29T23:07:00Z'
    ) RETURNING *
)
INSERT INTO "legal_hours_change" ("country", "hours", "changed_by", "changed_at") SELECT * FROM made;
