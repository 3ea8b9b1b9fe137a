//! Answers.

use crate::canon::{Answer, Event, Fault, Malformed};
use crate::protocol::dialect::{Closing, Opening};
use crate::protocol::framing::sse::SseEvent;
use bytes::{Bytes, BytesMut};

#[derive(Debug, Default)]
pub struct Decoder;

impl Decoder {
    pub fn event(&mut self, _sse: &SseEvent, _out: &mut Vec<Event>) -> Result<(), Malformed> {
        Ok(())
    }

    pub fn whole(&mut self, _body: &Bytes, _out: &mut Vec<Event>) -> Result<(), Malformed> {
        Ok(())
    }

    pub fn finish(&mut self, _out: &mut Vec<Event>) -> Result<(), Malformed> {
        Ok(())
    }
}

#[derive(Debug)]
pub struct Encoder;

impl Encoder {
    pub fn new(_opening: Opening) -> Self {
        Self
    }

    pub fn event(&mut self, _event: &Event, _out: &mut BytesMut) {}

    pub fn finish(&mut self, _closing: &Closing, _out: &mut BytesMut) {}

    pub fn fail(&mut self, _fault: &Fault, _closing: &Closing, _out: &mut BytesMut) {}

    pub fn dropped(&self) -> &[String] {
        &[]
    }
}

pub fn write_whole(_answer: &Answer, _opening: &Opening, _closing: &Closing) -> Bytes {
    Bytes::new()
}
