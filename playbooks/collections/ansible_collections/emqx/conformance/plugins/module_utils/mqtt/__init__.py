"""The little MQTT a probe needs: CONNECT, CONNACK, DISCONNECT, in 3.1.1 and 5."""
