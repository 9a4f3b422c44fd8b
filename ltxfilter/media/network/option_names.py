"""Names of the options of FFmpeg's network protocols. Light: a command line is read with it."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROTOCOL_OPTIONS = _names(
    # of any protocol
    "protocol_whitelist rw_timeout timeout "
    # http, https and what is fetched over them
    "reconnect reconnect_at_eof reconnect_on_network_error reconnect_on_http_error "
    "reconnect_streamed reconnect_delay_max reconnect_max_retries reconnect_delay_total_max "
    "respect_retry_after short_seek_size seekable chunked_post http_proxy headers content_type "
    "user_agent referer multiple_requests request_size initial_request_size post_data cookies icy "
    "auth_type send_expect_100 location offset end_offset method listen resource reply_code "
    "http_persistent http_multiple http_seekable seg_max_retry max_redirects "
    # tls
    "tls_verify ca_file cafile cert_file key_file verifyhost "
    # tcp and udp
    "listen_timeout send_buffer_size recv_buffer_size tcp_nodelay tcp_mss local_addr local_port "
    "buffer_size pkt_size localaddr localport localrtpport localrtcpport fifo_size "
    "overrun_nonfatal bitrate burst_bits ttl broadcast connect reuse reuse_socket "
    # rtsp and rtp
    "rtsp_transport rtsp_flags allowed_media_types min_port max_port reorder_queue_size "
    "initial_pause stimeout rtpflags rtcp_port write_to_source "
    # rtmp
    "rtmp_app rtmp_buffer rtmp_conn rtmp_enhanced_codecs rtmp_flashver rtmp_flush_interval "
    "rtmp_live rtmp_listen rtmp_pageurl rtmp_playpath rtmp_subscribe rtmp_swfhash rtmp_swfsize "
    "rtmp_swfurl rtmp_swfverify rtmp_tcurl "
    # srt and ftp
    "passphrase pbkeylen peerlatency rcvlatency streamid srt_streamid payload_size "
    "transtype linger connect_timeout ftp-anonymous-password ftp-password ftp-user "
    "ftp-write-seekable"
)
