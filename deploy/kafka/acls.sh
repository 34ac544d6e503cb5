#!/bin/sh
# The rights of izin in Kafka: a principal for each kind of process, and nothing more than it needs.
# Made of izin/kafka/rights.py by: python -m tools.generate
#
#     BOOTSTRAP=kafka-1.example.com:9093 CONFIG=admin.properties deploy/kafka/acls.sh
#
# CONFIG authenticates one who may alter ACLs. It needs kafka-acls.sh of Apache Kafka in PATH.
# PRINCIPAL is what stands before the names of the roles: User:izin- makes User:izin-intake. It only
# adds, and can be repeated. Where the topics have a prefix, set IZIN_TOPIC_PREFIX.
#
# The brokers: authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer,
# allow.everyone.if.no.acl.found=false, auto.create.topics.enable=false, and
# transaction.max.timeout.ms=15000: another's open transaction holds back the opt-outs behind it.
# The settings of the topics are `izin doctor --fix`'s.
set -eu
: "${BOOTSTRAP:?host:port of a broker}" "${CONFIG:?a file with the properties of an administrator}"

allow() {
    role=$1
    shift
    kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config "$CONFIG" --add --force \
        --allow-principal "${PRINCIPAL:-User:}$role" "$@" >/dev/null
}

# izin outbox, and programs that publish with the library or a Kafka client.
allow publisher --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}brands"
allow publisher --operation Describe --operation Write --topic "${IZIN_TOPIC_PREFIX:-}consent-events" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-express"
allow publisher --operation Describe --resource-pattern-type prefixed --group "izin-"

# izin intake.
allow intake --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}api-keys"
allow intake --operation Describe --operation Read --operation Write --topic "${IZIN_TOPIC_PREFIX:-}first-receipts"
allow intake --operation Describe --operation Write --topic "${IZIN_TOPIC_PREFIX:-}consent-events" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-express" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-dlq"
allow intake --operation Describe --resource-pattern-type prefixed --group "izin-"

# izin order.
allow order --operation Describe --operation DescribeConfigs --operation Read --topic "${IZIN_TOPIC_PREFIX:-}consent-events" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-express"
allow order --operation Describe --operation DescribeConfigs --topic "${IZIN_TOPIC_PREFIX:-}first-receipts" --topic "${IZIN_TOPIC_PREFIX:-}permissions" --topic "${IZIN_TOPIC_PREFIX:-}consent-outcomes" --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}api-keys" --topic "${IZIN_TOPIC_PREFIX:-}ledger-positions" --topic "${IZIN_TOPIC_PREFIX:-}iys-freshness" --topic "${IZIN_TOPIC_PREFIX:-}gate-receipts" --topic "${IZIN_TOPIC_PREFIX:-}ledger-anchors"
allow order --operation Describe --operation DescribeConfigs --operation Read --operation Write --topic "${IZIN_TOPIC_PREFIX:-}desired-consents" --topic "${IZIN_TOPIC_PREFIX:-}order-positions"
allow order --operation Describe --operation DescribeConfigs --operation Write --topic "${IZIN_TOPIC_PREFIX:-}consent-decisions" --topic "${IZIN_TOPIC_PREFIX:-}consent-opt-outs" --topic "${IZIN_TOPIC_PREFIX:-}opted-out-merchants" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-dlq"
allow order --operation Describe --resource-pattern-type prefixed --group "izin-"
allow order --operation Read --operation Describe --resource-pattern-type prefixed --group "${IZIN_TOPIC_PREFIX:-}izin-order"
allow order --operation Write --operation Describe --resource-pattern-type prefixed --transactional-id "${IZIN_TOPIC_PREFIX:-}izin-order"

# izin sink.
allow sink --operation Describe --operation Read --operation Write --topic "${IZIN_TOPIC_PREFIX:-}consent-events" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-express" --topic "${IZIN_TOPIC_PREFIX:-}ledger-positions" --topic "${IZIN_TOPIC_PREFIX:-}ledger-anchors"
allow sink --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}consent-decisions" --topic "${IZIN_TOPIC_PREFIX:-}desired-consents" --topic "${IZIN_TOPIC_PREFIX:-}gate-receipts"
allow sink --operation Describe --operation Write --topic "${IZIN_TOPIC_PREFIX:-}permissions" --topic "${IZIN_TOPIC_PREFIX:-}consent-outcomes" --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}api-keys" --topic "${IZIN_TOPIC_PREFIX:-}iys-freshness" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-dlq"
allow sink --operation Describe --resource-pattern-type prefixed --group "izin-"
allow sink --operation Write --operation Describe --resource-pattern-type prefixed --transactional-id "${IZIN_TOPIC_PREFIX:-}izin-ledger-outbox"

# izin gate.
allow gate --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}consent-events" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-express" --topic "${IZIN_TOPIC_PREFIX:-}api-keys" --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}consent-decisions" --topic "${IZIN_TOPIC_PREFIX:-}iys-freshness" --topic "${IZIN_TOPIC_PREFIX:-}ledger-positions" --topic "${IZIN_TOPIC_PREFIX:-}opted-out-merchants" --topic "${IZIN_TOPIC_PREFIX:-}permissions" --topic "${IZIN_TOPIC_PREFIX:-}order-positions"
allow gate --operation Describe --operation Write --topic "${IZIN_TOPIC_PREFIX:-}gate-receipts"
allow gate --operation Describe --resource-pattern-type prefixed --group "izin-"

# izin feeds.
allow feeds --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}api-keys" --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}consent-opt-outs" --topic "${IZIN_TOPIC_PREFIX:-}permissions" --topic "${IZIN_TOPIC_PREFIX:-}consent-outcomes"
allow feeds --operation Describe --resource-pattern-type prefixed --group "izin-"

# izin webhooks.
allow webhooks --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}consent-decisions" --topic "${IZIN_TOPIC_PREFIX:-}consent-opt-outs" --topic "${IZIN_TOPIC_PREFIX:-}permissions" --topic "${IZIN_TOPIC_PREFIX:-}consent-outcomes"
allow webhooks --operation Describe --resource-pattern-type prefixed --group "izin-"

# izin api.
allow api --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}api-keys" --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}consent-events"
allow api --operation Describe --operation Read --operation Write --topic "${IZIN_TOPIC_PREFIX:-}consent-events-express"
allow api --operation Describe --resource-pattern-type prefixed --group "izin-"

# izin console.
allow console --operation Describe --operation Read --operation Write --topic "${IZIN_TOPIC_PREFIX:-}consent-events" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-express"
allow console --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}consent-decisions" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-dlq"
allow console --operation Describe --resource-pattern-type prefixed --group "izin-"

# Programs that subscribe; groups begin with the name of the subscriber.
allow subscriber --operation Describe --operation Read --topic "${IZIN_TOPIC_PREFIX:-}consent-opt-outs" --topic "${IZIN_TOPIC_PREFIX:-}permissions" --topic "${IZIN_TOPIC_PREFIX:-}consent-outcomes"
allow subscriber --operation Describe --resource-pattern-type prefixed --group "izin-"
allow subscriber --operation Read --operation Describe --resource-pattern-type prefixed --group "subscriber-"

# People at the command line.
allow operator --operation Describe --operation DescribeConfigs --operation Create --operation AlterConfigs --operation Delete --operation Read --operation Write --topic "${IZIN_TOPIC_PREFIX:-}consent-events" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-express" --topic "${IZIN_TOPIC_PREFIX:-}first-receipts" --topic "${IZIN_TOPIC_PREFIX:-}desired-consents" --topic "${IZIN_TOPIC_PREFIX:-}consent-decisions" --topic "${IZIN_TOPIC_PREFIX:-}order-positions" --topic "${IZIN_TOPIC_PREFIX:-}consent-opt-outs" --topic "${IZIN_TOPIC_PREFIX:-}permissions" --topic "${IZIN_TOPIC_PREFIX:-}consent-outcomes" --topic "${IZIN_TOPIC_PREFIX:-}brands" --topic "${IZIN_TOPIC_PREFIX:-}api-keys" --topic "${IZIN_TOPIC_PREFIX:-}ledger-positions" --topic "${IZIN_TOPIC_PREFIX:-}opted-out-merchants" --topic "${IZIN_TOPIC_PREFIX:-}iys-freshness" --topic "${IZIN_TOPIC_PREFIX:-}gate-receipts" --topic "${IZIN_TOPIC_PREFIX:-}ledger-anchors" --topic "${IZIN_TOPIC_PREFIX:-}consent-events-dlq"
allow operator --operation Describe --resource-pattern-type prefixed --group "izin-"
allow operator --operation Read --operation Describe --group "*"
allow operator --operation Write --operation Describe --transactional-id "*"
allow operator --operation Describe --operation DescribeConfigs --cluster
