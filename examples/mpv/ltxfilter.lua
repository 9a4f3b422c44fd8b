-- mpv: Ctrl+i plays the file interpolated, from where it is; Ctrl+i again plays it as it is.
-- Copy this file into ~/.config/mpv/scripts. In ~/.config/mpv/script-opts/ltxfilter.conf may stand:
--   program=ltxfilter
--   options=--fps 60 --engine flow
-- Needs a system with named pipes: Linux, macOS, the BSDs.
local options = { program = "ltxfilter", options = "--fps 60" }
require("mp.options").read_options(options, "ltxfilter")
local utils = require("mp.utils")

local playing -- while interpolated: { path, offset, pipe, process }

local function command_of(path, offset, pipe)
    local words = { options.program, "-v", "error", "-y", "-ss", tostring(offset), "-i", path }
    for word in options.options:gmatch("%S+") do
        words[#words + 1] = word
    end
    for _, word in ipairs({ "-f", "nut", pipe }) do
        words[#words + 1] = word
    end
    return words
end

local function stop()
    local ended = playing
    playing = nil
    if ended then
        mp.abort_async_command(ended.process)
        os.remove(ended.pipe)
    end
    return ended
end

local function start()
    local path = mp.get_property("path")
    local offset = math.max(mp.get_property_number("time-pos", 0), 0)
    if not path or path == "-" then
        mp.osd_message("ltxfilter: only files and addresses can be interpolated")
        return
    end
    local pipe = os.tmpname()
    os.remove(pipe)
    local made = utils.subprocess({ args = { "mkfifo", "-m", "600", pipe } })
    if made.status ~= 0 then
        mp.osd_message("ltxfilter: no named pipe can be made")
        return
    end
    local process = mp.command_native_async({
        name = "subprocess",
        args = command_of(path, offset, pipe),
        playback_only = false,
        capture_stderr = true,
    }, function(_, result)
        if result and result.status ~= 0 and not result.killed_by_us and playing then
            mp.osd_message("ltxfilter: " .. (result.stderr or ""), 5)
        end
    end)
    playing = { path = path, offset = offset, pipe = pipe, process = process }
    mp.osd_message("ltxfilter: " .. options.options)
    mp.commandv("loadfile", pipe, "replace")
end

local function toggle()
    local before = mp.get_property_number("time-pos", 0)
    local ended = stop()
    if ended then
        mp.osd_message("ltxfilter: off")
        local at = { start = string.format("%f", ended.offset + before) }
        mp.command_native({ name = "loadfile", url = ended.path, options = at })
    else
        start()
    end
end

mp.add_key_binding("Ctrl+i", "toggle", toggle)
mp.register_event("end-file", function(event)
    if event.reason == "eof" or event.reason == "error" then
        stop()
    end
end)
mp.register_event("shutdown", stop)
