"""A distributed message fabric on ZeroMQ with MQTT-style topics."""
