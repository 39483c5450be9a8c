-- Topics are keys of a tree that may be edited: this says in which version they stand. Null for what was registered before.
ALTER TABLE "dispositions" ADD COLUMN "rules_version" INTEGER;
