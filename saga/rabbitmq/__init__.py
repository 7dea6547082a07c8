"""RabbitMQ, by aio-pika, which no other package imports."""
