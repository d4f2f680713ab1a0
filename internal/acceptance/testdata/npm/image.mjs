// A picture of 64 x 64 pixels as workers deliver it: WebP, in base64.
export const webp =
  "UklGRlIAAABXRUJQVlA4IEYAAACwAwCdASpAAEAAPtFor1KoJiQioggBABoJaQDPZAWa6wAWchC3IAD+7nZ//Dn2x+9kr/nY6nGlvf0c7exHsKy66GqEAAAA";
