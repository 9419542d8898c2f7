"""The server stage: a view of the log, answered over HTTP.

follower ──► knowledge   users, items, edits, outcomes, what is taken of late
        ├──► live        regions and adapters in force, those of older revisions on demand
        └──► history     statistics, dead letters and versions of late: what the page (`page/`) shows
app ──► batching ──► recommender ──► pipeline.models.lora
   └──► feedback, admin ──► the log
"""
