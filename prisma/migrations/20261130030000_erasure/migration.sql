-- Persons who were erased (docs/domain.md, "Erasing a person").
ALTER TABLE "contact" ADD COLUMN "erased_at" TIMESTAMPTZ(3);
ALTER TABLE "contact" ADD COLUMN "erased_by" TEXT;
