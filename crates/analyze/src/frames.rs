//! The calls of a profile's stacks, and which of them is responsible.

use model::{Frame, Profile, StackId};

use crate::code;
use crate::outstanding::{self, NativeFrame};

/// The calls of a stack, innermost first, those inlined included, with the file their code is in.
pub fn with_objects(profile: &Profile, stack: StackId) -> Vec<NativeFrame> {
    let mut frames = Vec::new();
    for location in profile.stacks.get(stack) {
        let Some(location) = profile.locations.get(location.0 as usize) else { continue };
        let mapping = location.mapping.and_then(|id| profile.mappings.get(id.0 as usize));
        let object = mapping.map_or("", |mapping| profile.str(mapping.filename));
        frames.extend(location.lines.iter().map(|line| {
            let function = profile.functions.get(line.function.0 as usize).copied();
            let function = function.unwrap_or_default();
            NativeFrame {
                function: profile.str(function.name).to_owned(),
                file: profile.str(function.filename).to_owned(),
                line: u32::try_from(line.line).unwrap_or(0),
                object: object.to_owned(),
            }
        }));
    }
    frames
}

/// The calls of a stack, innermost first, those inlined included.
pub fn of(profile: &Profile, stack: StackId) -> Vec<Frame> {
    with_objects(profile, stack).into_iter().map(Frame::from).collect()
}

/// The call that is responsible for a stack: of a Go program by its module, of others by the file
/// that they run.
pub fn responsible(
    profile: &Profile,
    stack: StackId,
    module: Option<&str>,
    executable: &str,
) -> Option<Frame> {
    let frames = with_objects(profile, stack);
    match module {
        Some(module) => {
            let frames: Vec<Frame> = frames.into_iter().map(Frame::from).collect();
            code::responsible(&frames, module).cloned()
        }
        None => outstanding::responsible(&frames, executable).cloned().map(Frame::from),
    }
}

impl From<NativeFrame> for Frame {
    fn from(frame: NativeFrame) -> Frame {
        Frame { function: frame.function, file: frame.file, line: frame.line }
    }
}
