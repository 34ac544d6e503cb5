-- The brand of synthetic opt-outs (izin/consent/model.py) is nobody's at İYS: nothing of it can be submitted.
ALTER TABLE brands ADD CONSTRAINT brands_not_synthetic CHECK (brand_code <> 2147483647);
