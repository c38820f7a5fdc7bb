//! In which order channels send what waits: of the core, frame by frame.

use tcpchan::proto::Config;
use tcpchan::wire::Settings;

use crate::raw::Raw;

const KIB: usize = 1 << 10;

/// Channels are written so many bytes and finished. What they send, in this order:
/// the index of a channel and how much, 0 for its FIN.
fn frames(bytes: &[usize]) -> Vec<(usize, usize)> {
    let config = Config::default().send_buffer(1 << 30).unwrap();
    let mut settings = Settings::default();
    settings.initial_window = 1 << 30;
    settings.max_channels = 1_024;
    let mut raw = Raw::server_of(config, settings);
    for bytes in bytes {
        let key = raw.core.open().unwrap();
        raw.core.write(key, &vec![0; *bytes]).unwrap();
        raw.core.finish(key).unwrap();
    }
    let frames = raw.hear_data().into_iter();
    frames.map(|(id, len)| (id as usize / 2, len)).collect()
}

/// The channels in the order of their ends.
fn ends(bytes: &[usize]) -> Vec<usize> {
    let frames = frames(bytes).into_iter();
    let ends = frames.filter(|(_, len)| *len == 0);
    ends.map(|(channel, _)| channel).collect()
}

#[test]
fn a_small_answer_goes_ahead_of_all() {
    assert_eq!(ends(&[1000 * KIB, 64 * KIB, KIB]), [2, 1, 0]);
}

#[test]
fn answers_of_a_middling_size_end_one_by_one() {
    let frames = frames(&[64 * KIB; 4]);
    let first = frames.iter().position(|frame| *frame == (0, 0)).unwrap();
    let sent: usize = frames[..first].iter().map(|(_, len)| len).sum();
    assert_eq!(sent, (64 + 3 * 4) * KIB); // each begins as if it were small
    assert_eq!(ends(&[64 * KIB; 4]), [0, 1, 2, 3]);
}

#[test]
fn an_end_without_bytes_goes_ahead_of_bytes() {
    assert_eq!(ends(&[KIB, 0]), [1, 0]);
}

#[test]
fn large_ones_take_turns() {
    let frames = frames(&[1000 * KIB; 2]);
    let some = &frames[40..60];
    let turns = some.chunk_by(|a, b| a.0 == b.0);
    // A frame that is cut short to fill a buffer is part of a turn.
    assert!(turns.clone().all(|turn| turn.len() <= 2), "{some:?}");
    assert!(turns.count() > 15, "{some:?}");
}

#[test]
fn what_streams_is_not_starved_by_answers_that_keep_coming() {
    let mut many = vec![100 * KIB; 50];
    many[0] = 1000 * KIB;
    let frames = frames(&many);
    let half = &frames[frames.len() / 4..frames.len() / 2];
    let of_first = half.iter().filter(|(channel, _)| *channel == 0).count();
    let share = of_first as f64 / half.len() as f64;
    assert!(share > 0.15, "{share}");
}
