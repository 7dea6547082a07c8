"""How events travel: topology, batched consuming, confirmed publishing, retries, dead letters.

`intake` and `verdict` hold what happens to a message, and know no driver; `rabbit`, `inbox`, `outlet` and
`declare` are the same on RabbitMQ, by aio-pika.
"""
