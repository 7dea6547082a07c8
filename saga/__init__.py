"""The kernel a service runs on: reactions made durable, on RabbitMQ and MongoDB. It knows no business."""
