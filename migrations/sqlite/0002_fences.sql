-- Which write of an attempt a delivery saw last. An attempt that holds an older one has lost the delivery:
-- it can store neither an intent nor an outcome.
ALTER TABLE deliveries ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
