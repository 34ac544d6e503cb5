"""PostgreSQL: connections, named queries, COPY, migrations, notifications."""
