import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Map;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The latest event of each key wins, with Apache Flink: a Kafka source, keyed state with the framed
 * rows, and a Kafka sink with EXACTLY_ONCE, in one process.
 *
 * <p>Arguments: the input topic, the output topic, the files of the schemas ConsentEvent and
 * Consent, the header of a framed Consent in hex, the version of the law, the brokers, the name of
 * the application, the parallelism, a properties file of Flink's own settings, and one of the
 * sink's producer.
 */
public final class FlinkLatestWins {
  private static final TypeInformation<byte[]> BYTES =
      PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
  private static final TypeInformation<Tuple2<byte[], byte[]>> RECORD = Types.TUPLE(BYTES, BYTES);

  public static void main(String[] args) throws Exception {
    String event = Files.readString(Path.of(args[2]));
    String row = Files.readString(Path.of(args[3]));
    byte[] header = HexFormat.of().parseHex(args[4]);
    int law = Integer.parseInt(args[5]);
    String app = args[7];
    int parallelism = Integer.parseInt(args[8]);

    Configuration settings = new Configuration();
    for (Map.Entry<Object, Object> one : properties(args[9]).entrySet()) {
      settings.setString((String) one.getKey(), (String) one.getValue());
    }
    var environment = StreamExecutionEnvironment.createLocalEnvironment(parallelism, settings);
    var source =
        KafkaSource.<Tuple2<byte[], byte[]>>builder()
            .setBootstrapServers(args[6])
            .setTopics(args[0])
            .setGroupId(app)
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setProperty("isolation.level", "read_committed")
            .setDeserializer(new AsBytes())
            .build();
    var sink =
        KafkaSink.<Tuple2<byte[], byte[]>>builder()
            .setBootstrapServers(args[6])
            .setKafkaProducerConfig(properties(args[10]))
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(app)
            .setRecordSerializer(new ToTopic(args[1]))
            .build();
    environment
        .fromSource(source, WatermarkStrategy.noWatermarks(), "events", RECORD)
        .keyBy(record -> new String(record.f0, StandardCharsets.ISO_8859_1), Types.STRING)
        .process(new KeepLatest(event, row, header, law))
        .returns(RECORD)
        .sinkTo(sink);
    environment.execute(app);
  }

  private static Properties properties(String file) throws IOException {
    Properties found = new Properties();
    try (var reader = Files.newBufferedReader(Path.of(file))) {
      found.load(reader);
    }
    return found;
  }

  private static final class AsBytes
      implements KafkaRecordDeserializationSchema<Tuple2<byte[], byte[]>> {
    @Override
    public void deserialize(
        ConsumerRecord<byte[], byte[]> record, Collector<Tuple2<byte[], byte[]>> out) {
      out.collect(Tuple2.of(record.key(), record.value()));
    }

    @Override
    public TypeInformation<Tuple2<byte[], byte[]>> getProducedType() {
      return RECORD;
    }
  }

  private static final class ToTopic
      implements KafkaRecordSerializationSchema<Tuple2<byte[], byte[]>> {
    private final String topic;

    ToTopic(String topic) {
      this.topic = topic;
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(
        Tuple2<byte[], byte[]> record, KafkaSinkContext context, Long timestamp) {
      return new ProducerRecord<>(topic, record.f0, record.f1);
    }
  }

  private static final class KeepLatest
      extends KeyedProcessFunction<String, Tuple2<byte[], byte[]>, Tuple2<byte[], byte[]>> {
    private final String event;
    private final String row;
    private final byte[] header;
    private final int law;
    private transient LatestWinsRule rule;
    private transient ValueState<byte[]> latest;

    KeepLatest(String event, String row, byte[] header, int law) {
      this.event = event;
      this.row = row;
      this.header = header;
      this.law = law;
    }

    @Override
    public void open(OpenContext context) {
      rule = new LatestWinsRule(event, row, header, law);
      latest = getRuntimeContext().getState(new ValueStateDescriptor<>("latest", BYTES));
    }

    @Override
    public void processElement(
        Tuple2<byte[], byte[]> record, Context context, Collector<Tuple2<byte[], byte[]>> out)
        throws Exception {
      byte[] changed = rule.after(record.f1, latest.value());
      if (changed != null) {
        latest.update(changed);
        out.collect(Tuple2.of(record.f0, changed));
      }
    }
  }
}
