//! How messages become bytes: as tonic does it, with buffers that begin small and grow with what is in them. Each open stream
//! keeps one for as long as it lasts, and a daemon may have ten thousand watchers.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec as Encoding};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// An event and its header.
const BUFFER: usize = 512;
/// What is sent in one piece when there is more.
const PIECE: usize = 32 << 10;

/// The codec of all services.
#[derive(Debug, Clone)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Encoding for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, PIECE))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, PIECE))
    }
}
