"""RabbitMQ, by aio-pika, which is imported here and nowhere else."""
