"""The order stage against Kafka Streams, Quix Streams, Faust and bare librdkafka, in one run."""
