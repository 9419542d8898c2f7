"""The server: views of the log, answered over HTTP.

follower ──► views/users_items      histories of users, titles and withdrawals of items
├──► views/edits            edits and outcomes
├──► views/regions          regions and adapters in force; older revisions on demand
├──► views/online           online popularity, from the gates' snapshots
└──► views/activity         statistics, dead letters and versions for the dashboard
http ──► batcher ──► recommender ──► pipeline.models.lora
└──► feedback, rollback ──► the log
"""
