"""What goes along with the video: sound, subtitles, attachments, covers, chapters, tags."""
