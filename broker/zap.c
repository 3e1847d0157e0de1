#include "broker/zap.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

enum { VERSION, REQUEST_ID, DOMAIN, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS, FRAMES };

int rota_zap_open (void *context, void **ret_socket, rota_error_t *error)
{
    int linger_ms = 0;
    void *socket = zmq_socket (context, ZMQ_REP);
    if (!socket || zmq_setsockopt (socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms) < 0 ||
        zmq_bind (socket, "inproc://zeromq.zap.01") < 0) {
        int result = -errno;
        if (socket)
            zmq_close (socket);
        return rota_error_set (error, result, "admission: %s", zmq_strerror (-result));
    }
    *ret_socket = socket;
    return 0;
}

static void take_text (zmq_msg_t *frame, char *ret_text, size_t capacity)
{
    size_t size = zmq_msg_size (frame);
    if (size >= capacity)
        size = 0;
    memcpy (ret_text, zmq_msg_data (frame), size);
    ret_text[size] = '\0';
}

/* An IPv4 address without the clothes it has on a socket for both. */
static void simplify (char *address)
{
    static const char MAPPED[] = "::ffff:";
    if (strncmp (address, MAPPED, sizeof MAPPED - 1) == 0)
        memmove (address, address + sizeof MAPPED - 1, strlen (address) - sizeof MAPPED + 2);
}

static bool is (zmq_msg_t *frame, const char *text)
{
    return zmq_msg_size (frame) == strlen (text) && memcmp (zmq_msg_data (frame), text, strlen (text)) == 0;
}

static void read_request (zmq_msg_t *frames, size_t count, rota_zap_request_t *request)
{
    if (zmq_msg_size (&frames[REQUEST_ID]) <= sizeof request->request_id) {
        request->request_id_bytes = zmq_msg_size (&frames[REQUEST_ID]);
        memcpy (request->request_id, zmq_msg_data (&frames[REQUEST_ID]), request->request_id_bytes);
    }
    take_text (&frames[DOMAIN], request->domain, sizeof request->domain);
    take_text (&frames[ADDRESS], request->address, sizeof request->address);
    simplify (request->address);
    request->has_key = count == FRAMES && is (&frames[MECHANISM], "CURVE") &&
                       zmq_msg_size (&frames[CREDENTIALS]) == ROTA_KEY_BYTES;
    if (request->has_key)
        rota_key_to_hex (zmq_msg_data (&frames[CREDENTIALS]), request->key);
}

int rota_zap_receive (void *socket, rota_zap_request_t *ret_request)
{
    zmq_msg_t frames[FRAMES];
    size_t count = 0;
    bool more = true;
    for (size_t i = 0; i < FRAMES; i++)
        zmq_msg_init (&frames[i]);
    while (more) {
        zmq_msg_t *frame = &frames[count < FRAMES ? count : FRAMES - 1];
        if (zmq_msg_recv (frame, socket, ZMQ_DONTWAIT) < 0)
            break;
        more = zmq_msg_more (frame);
        count++;
    }
    int result = count == 0 ? -EAGAIN : 0;
    memset (ret_request, 0, sizeof *ret_request);
    if (count > MECHANISM && is (&frames[VERSION], "1.0"))
        read_request (frames, count, ret_request);
    else if (count > 0)
        result = -EBADMSG;
    for (size_t i = 0; i < FRAMES; i++)
        zmq_msg_close (&frames[i]);
    if (result == -EBADMSG)
        rota_zap_answer (socket, ret_request, false);
    return result;
}

void rota_zap_answer (void *socket, const rota_zap_request_t *request, bool comes_in)
{
    const char *status = comes_in ? "200" : "400", *text = comes_in ? "OK" : "not granted";
    const char *name = comes_in ? request->key : "";
    /* To a socket of this process that takes all; who asked may have gone meanwhile, which is no matter. */
    if (zmq_send (socket, "1.0", 3, ZMQ_SNDMORE) < 0 ||
        zmq_send (socket, request->request_id, request->request_id_bytes, ZMQ_SNDMORE) < 0 ||
        zmq_send (socket, status, strlen (status), ZMQ_SNDMORE) < 0 ||
        zmq_send (socket, text, strlen (text), ZMQ_SNDMORE) < 0 ||
        zmq_send (socket, name, strlen (name), ZMQ_SNDMORE) < 0)
        return;
    zmq_send (socket, "", 0, 0);
}
