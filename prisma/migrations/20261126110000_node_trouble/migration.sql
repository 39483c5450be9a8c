-- AlterTable
ALTER TABLE "node" ADD COLUMN     "trouble" TEXT;
