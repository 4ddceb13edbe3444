"""Fine-tunes any LLaVA-family checkpoint on the data sets D1, D2 and D3 (Filter-And-Refine, sections 4.2 and 4.3)."""
