# A mail server for tests: prints its port, then writes each mail as a line of JSON to a file.
import email, email.policy, json, ssl, sys, time

try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult
except ImportError:
    print("no aiosmtpd", flush=True)
    sys.exit(1)

out, mode, certificate = sys.argv[1:4]


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        names = ("subject", "from", "references", "in-reply-to", "message-id", "x-team")
        seen = {name: str(mail[name]) for name in names}
        seen |= {
            "to": envelope.rcpt_tos,
            "text": text and text.get_content(),
            "html": html and html.get_content(),
            "tls": session.ssl is not None or mode == "implicit",
            "user": session.auth_data,
        }
        with open(out, "a") as file:
            file.write(json.dumps(seen) + "\n")
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    user, password = data.login.decode(), data.password.decode()
    is_right = (user, password) == ("me", "hunter2")
    return AuthResult(success=is_right, auth_data=user, handled=is_right)


options = {}
if mode in ("starttls", "auth", "implicit"):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    key = "ssl_context" if mode == "implicit" else "tls_context"
    options[key] = context
if mode in ("starttls", "auth"):
    options["require_starttls"] = True
if mode == "auth":
    options |= {"authenticator": authenticate, "auth_required": True}
import socket

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
controller = Controller(Handler(), hostname="127.0.0.1", port=port, **options)
controller.start()
print(port, flush=True)
while True:
    time.sleep(60)
