import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.FileInputStream;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** An MQTT 3.1.1 client as a Java user's first one: JSSE, with the name verified as Paho does. */
public final class Client {
    public static void main(String[] given) throws Exception {
        if (given[4].equals("told")) {
            // This makes it resume where the name is not verified: without it JSSE demands there
            // what Erlang/OTP has not.
            System.setProperty("jdk.tls.useExtendedMasterSecret", "false");
        }
        SSLContext context = context(given[2]);
        for (int number = 1; number <= Integer.parseInt(given[6]); number++) {
            int code = -1;
            String error = "";
            try {
                code = connect(context, given);
            } catch (java.io.IOException problem) {
                error = String.valueOf(problem.getMessage()).replaceAll("[^ -~]|[\"\\\\]", " ");
            }
            // JSSE does not tell whether it resumed.
            System.out.printf("{\"connection\": %d, \"library\": \"Java %s\", \"resumed\": null, "
                + "\"connack\": %d, \"error\": \"%s\"}%n",
                number, System.getProperty("java.version"), code, error);
        }
    }

    private static SSLContext context(String ca) throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (FileInputStream file = new FileInputStream(ca)) {
            for (Certificate one : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                trusted.setCertificateEntry("ca" + trusted.size(), one);
            }
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance("PKIX");
        managers.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    private static int connect(SSLContext context, String[] given) throws java.io.IOException {
        int port = Integer.parseInt(given[1]);
        try (Socket tcp = new Socket(given[0], port);
             // The name goes here since it leads to another address under test; the cache goes by it.
             SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(tcp, given[3], port, true)) {
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setProtocols(new String[] {"TLSv1.2"});
            if (given[4].equals("as_it_comes")) {
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
            }
            tls.setSSLParameters(parameters);
            tls.getOutputStream().write(connectPacket(given[5]));
            byte[] answer = new byte[4];
            new DataInputStream(tls.getInputStream()).readFully(answer);
            tls.getOutputStream().write(new byte[] {(byte) 0xe0, 0});
            return answer[0] == 0x20 ? answer[3] : -1;
        }
    }

    private static byte[] connectPacket(String id) throws java.io.IOException {
        String user = System.getenv("MQTT_USERNAME");
        String password = System.getenv("MQTT_PASSWORD");
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(body);
        out.writeUTF("MQTT");
        out.write(new byte[] {4, (byte) (2 | (user != null ? 0x80 : 0) | (password != null ? 0x40 : 0)), 0, 60});
        for (String text : new String[] {id, user, password}) {
            if (text != null) {
                out.writeUTF(text);
            }
        }
        ByteArrayOutputStream packet = new ByteArrayOutputStream();
        packet.write(0x10);
        if (body.size() > 127) {
            packet.write(body.size() & 0x7f | 0x80);
        }
        packet.write(body.size() > 127 ? body.size() >> 7 : body.size());
        body.writeTo(packet);
        return packet.toByteArray();
    }
}
