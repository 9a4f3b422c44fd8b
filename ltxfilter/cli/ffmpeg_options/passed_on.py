"""Options that libav takes itself: names of those of demuxers, decoders and muxers.

An option after -i that is named nowhere goes to the video encoder, which says whether it has it.
"""

from __future__ import annotations

from ltxfilter.media.network.option_names import PROTOCOL_OPTIONS


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEMUXER_OPTIONS = _names(  # of reading, in any container
    "probesize formatprobesize fflags seek2any analyzeduration cryptokey indexmem rtbufsize fdebug "
    "max_delay fpsprobesize f_err_detect err_detect use_wallclock_as_timestamps "
    "skip_initial_bytes correct_ts_overflow max_ts_probe max_streams "
    "skip_estimate_duration_from_pts max_probe_packets "
    # of one container each
    "ignore_editlist advanced_editlist ignore_chapters enable_drefs export_all export_xmp "
    "activation_bytes decryption_key max_stts_delta interleaved_read use_mfra_for use_tfdt "
    "resync_size fix_teletext_pts ts_packetsize scan_all_pmts skip_unknown_pmt merge_pmt_versions "
    "max_packet_size flv_metadata flv_full_metadata flv_ignore_prevtag missing_streams "
    "no_resync_search min_delay max_gif_delay default_delay ignore_loop default_fps max_fps "
    "raw_packet_size safe auto_convert segment_time_metadata live_start_index prefer_x_start "
    "allowed_extensions allowed_segment_extensions extension_picky max_reload "
    "m3u8_hold_counters pattern_type start_number start_number_range ts_from_file loop "
    "export_path_metadata eia608_extract"
)
DECODER_OPTIONS = _names("flags flags2 ec err_detect strict idct skip_loop_filter bug")
MUXER_OPTIONS = _names(  # of writing, in any container
    "avioflags packetsize fflags fdebug max_delay start_time_realtime audio_preload chunk_duration "
    "chunk_size flush_packets metadata_header_padding output_ts_offset max_interleave_delta "
    "f_strict avoid_negative_ts "
    # of one container each
    "moov_size skip_iods iods_audio_profile iods_video_profile frag_duration min_frag_duration "
    "frag_size ism_lookahead video_track_timescale use_editlist fragment_index write_colr "
    "prefer_icc mov_gamma frag_interleave encryption_scheme encryption_key encryption_kid "
    "use_stream_ids_as_track_ids write_btrt write_tmcd write_prft empty_hdlr_name movie_timescale "
    "reserve_index_space cues_to_front cluster_size_limit dash_track_number live allow_raw_vfw "
    "flipped_raw_rgb write_crc32 default_mode write_channel_mask muxpreload muxrate preload "
    "pes_payload_size tables_version omit_video_pes_length pcr_period pat_period sdt_period "
    "nit_period signal_standard store_user_comments flvflags serial_offset oggpagesize "
    "page_duration syncpoints write_index id3v2_version write_id3v1 write_id3v2 write_xing "
    "update strftime strftime_mkdir frame_pts atomic_writing final_delay init_seg_name "
    "media_seg_name window_size extra_window_size use_template use_timeline adaptation_sets "
    "streaming ldash master_pl_name increment_tc reset_timestamps single_file "
    "single_file_name seg_duration"
)
MUXER_PREFIXES = ("hls_", "segment_", "dash_", "mpegts_")  # of containers that write many files


def is_demuxers(name: str) -> bool:
    """Return True for an option of a demuxer, of a protocol, or of a decoder."""
    return name in DEMUXER_OPTIONS or name in PROTOCOL_OPTIONS or name in DECODER_OPTIONS


def is_muxers(name: str) -> bool:
    """Return True for an option of a muxer, or of a protocol."""
    known = name in MUXER_OPTIONS or name in PROTOCOL_OPTIONS
    return known or name.startswith(MUXER_PREFIXES)
